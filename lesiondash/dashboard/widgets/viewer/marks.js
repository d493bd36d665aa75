// The marks of the series shown: edited here, undone here, told to the kernel at every finished change.
const UNDO_STEPS = 200;
const newId = () => crypto.randomUUID?.().replaceAll("-", "").slice(0, 16) ?? Math.random().toString(16).slice(2, 18);
const copied = (items) => items.map((item) => ({ ...item, points: item.points.map((point) => [...point]) }));

// What the kernel has not said it keeps survives a reload, or a kernel that died, in the browser's own store.
const kept = {
  key: (uid) => `lesiondash marks ${uid}`,
  put(uid, items) { try { localStorage.setItem(this.key(uid), JSON.stringify(items)); } catch { /* private mode, or full */ } },
  take(uid) { try { return JSON.parse(localStorage.getItem(this.key(uid)) ?? "null"); } catch { return null; } },
  drop(uid) { try { localStorage.removeItem(this.key(uid)); } catch { /* private mode */ } },
};

function makeMarks(model, onChange) {
  const m = { uid: "", items: [], selected: "", handle: -1 };
  let past = [], future = [], revision = 0;
  const tell = () => {
    revision += 1;
    kept.put(m.uid, m.items);
    model.send({ type: "annotate", uid: m.uid, revision, items: m.items });
    onChange();
  };
  const step = (items) => {
    past.push(copied(m.items));
    if (past.length > UNDO_STEPS) past.shift();
    future = [];
    m.items = items;
    tell();
  };
  m.chosen = () => m.items.find((item) => item.id === m.selected);
  m.on = (slice) => m.items.filter((item) => item.slice === slice);
  m.select = (id, handle = -1) => { m.selected = id; m.handle = handle; onChange(); };
  m.add = (mark) => {
    const made = { id: newId(), label: "", note: "", ...mark };
    m.selected = made.id; m.handle = -1;
    step([...m.items, made]);
    return made;
  };
  m.change = (id, change) => step(m.items.map((item) => (item.id === id ? { ...item, ...change } : item)));
  m.remove = (id) => { if (m.items.some((item) => item.id === id)) { m.selected = ""; step(m.items.filter((item) => item.id !== id)); } };
  const turn = (from, to) => {
    if (!from.length) return;
    to.push(copied(m.items));
    m.items = from.pop();
    if (!m.chosen()) m.selected = "";
    tell();
  };
  m.undo = () => turn(past, future);
  m.redo = () => turn(future, past);
  m.canUndo = () => past.length > 0;
  m.canRedo = () => future.length > 0;

  // From the kernel: another series, a file that was opened, a label that was changed in the list.
  m.take = () => {
    const { uid = "", revision: answered = 0, by = "kernel", items = [] } = model.get("annotations");
    if (uid !== m.uid) {
      m.uid = uid; m.items = copied(items); m.selected = ""; past = []; future = []; revision = 0;
      const own = uid && kept.take(uid);
      if (own) {  // never acknowledged: what the kernel lacks is told to it again
        const known = new Set(items.map((item) => item.id)), missing = own.filter((item) => !known.has(item.id));
        if (missing.length) step([...m.items, ...missing]); else kept.drop(uid);
      }
    } else if (by === "hand") {
      if (answered >= revision) kept.drop(uid);  // an answer to an older change says nothing of the newest
    } else if (JSON.stringify(items) !== JSON.stringify(m.items)) {
      past.push(copied(m.items)); future = [];
      m.items = copied(items);
      if (!m.chosen()) m.selected = "";
    }
    onChange();
  };
  return m;
}
