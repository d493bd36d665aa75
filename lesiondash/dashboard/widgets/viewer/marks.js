// The marks of the series shown: edited here, undone here, told to the kernel at every finished change.
const UNDO_STEPS = 200;
const newId = () => crypto.randomUUID?.().replaceAll("-", "").slice(0, 16) ?? Math.random().toString(16).slice(2, 18);
const copied = (items) => items.map((item) => ({ ...item, points: item.points.map((point) => [...point]) }));

// What the kernel has not said it keeps survives a reload, or a kernel that died, in the browser's own store: the marks,
// and the ids that the kernel had when it last answered, so that one that was deleted since does not come back.
const kept = {
  key: (uid) => `lesiondash marks ${uid}`,
  put(uid, items, known) { try { localStorage.setItem(this.key(uid), JSON.stringify({ items, known })); } catch { /* private mode, or full */ } },
  take(uid) { try { return JSON.parse(localStorage.getItem(this.key(uid)) ?? "null"); } catch { return null; } },
  drop(uid) { try { localStorage.removeItem(this.key(uid)); } catch { /* private mode */ } },
};

function makeMarks(model, onChange) {
  const m = { uid: "", items: [], selected: "", handle: -1 };
  const view = newId();
  let past = [], future = [], revision = 0, known = [];
  const tell = () => {
    revision += 1;
    kept.put(m.uid, m.items, known);
    model.send({ type: "annotate", uid: m.uid, view, revision, items: m.items });
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
  m.change = (id, change) => m.items.some((item) => item.id === id) && step(m.items.map((item) => (item.id === id ? { ...item, ...change } : item)));
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
    const told = items.map((item) => item.id);
    if (uid !== m.uid) {
      m.uid = uid; m.items = copied(items); m.selected = ""; past = []; future = []; revision = 0; known = told;
      const own = uid && kept.take(uid);
      if (own?.items) {  // never acknowledged: as it was left here, with what the kernel has got from elsewhere since
        const here = new Set(own.items.map((item) => item.id)), before = new Set(own.known);
        const merged = [...own.items, ...items.filter((item) => !here.has(item.id) && !before.has(item.id))];
        if (JSON.stringify(merged) !== JSON.stringify(items)) step(merged); else kept.drop(uid);
      }
    } else if (by === view) {
      if (answered >= revision) { known = told; kept.drop(uid); }  // an answer to an older change says nothing of the newest
    } else if (JSON.stringify(items) !== JSON.stringify(m.items)) {
      past.push(copied(m.items)); future = [];
      m.items = copied(items);
      if (!m.chosen()) m.selected = "";
    }
    onChange();
  };
  return m;
}
