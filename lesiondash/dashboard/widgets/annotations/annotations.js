// Annotations: a row for each, kept by id so that a hand that types in one is not disturbed by the others.
const MAX_BYTES = 8_000_000;
const SAVES = [
  ["json", "JSON", "everything, to be dropped on its scan again"],
  ["csv", "CSV", "a table with a row for each"],
  ["sr", "SR", "a DICOM structured report, TID 1500"],
  ["seg", "SEG", "a DICOM segmentation of boxes and ellipses"],
];

function button(text, onclick, title = "", className = "ld-btn") {
  return element("button", { className, textContent: text, onclick, title });
}
// One row: what it is, what it measures, what the reader says of it, and what can be done with it.
function makeRow(model, id, listId) {
  const send = (type, more = {}) => model.send({ type, id, ...more });
  const what = button("", () => send("show"), "", "ld-mark-show");
  const values = element("small"), warning = element("small", { className: "ld-mark-warning" });
  const label = element("input", { type: "text", maxLength: 200, placeholder: "label" });
  label.setAttribute("list", listId);
  const note = element("input", { type: "text", maxLength: 10_000, placeholder: "note" });
  const tell = () => send("label", { label: label.value, note: note.value });
  label.onchange = note.onchange = tell;
  const search = button("Search", () => send("search"), "Search for lesions like this one");
  const add = button("", () => send(add.dataset.added === "true" ? "remove" : "add"));
  const gone = button("Delete", () => send("delete"), "Delete (Del); undo in the viewer brings it back");
  const node = element("li", { className: "ld-mark" }, what, values, warning,
    element("div", { className: "ld-mark-words" }, label, note),
    element("div", { className: "ld-mark-deeds" }, search, add, gone));
  what.onkeydown = (event) => {
    if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); send("delete"); }
  };
  const update = (mark) => {
    const named = `${mark.name}, slice ${mark.slice + 1}`;
    what.textContent = mark.size ? `${named}: ${mark.size}` : named;
    what.title = `Show it on slice ${mark.slice + 1}`;
    values.textContent = mark.values;
    warning.textContent = mark.warning;
    values.hidden = !mark.values; warning.hidden = !mark.warning;
    for (const [input, text, name] of [[label, mark.label, "Label"], [note, mark.note, "Note"]]) {
      input.setAttribute("aria-label", `${name} of ${named}`);
      if (document.activeElement !== input) input.value = text;
    }
    search.hidden = add.hidden = !mark.area;
    add.dataset.added = String(mark.added);
    add.textContent = mark.added ? "In collection ✓" : "Add to collection";
    add.title = mark.added ? "It is in the collection; press to take it out again" : "Make it a lesion of the collection, found by searches";
    add.setAttribute("aria-pressed", String(mark.added));
    for (const [deed, text] of [[search, "Search by"], [gone, "Delete"]]) deed.setAttribute("aria-label", `${text} ${named}`);
    add.setAttribute("aria-label", `${add.textContent}: ${named}`);
    node.dataset.slice = mark.slice;
  };
  return { node, update };
}

function render({ model, el }) {
  el.classList.add("ld-marks");
  const listId = `ld-labels-${model.model_id ?? Math.random().toString(36).slice(2)}`;
  const labels = element("datalist", { id: listId });
  const empty = element("p", { className: "ld-muted" }), list = element("ul"), rows = new Map();
  const input = element("input", { type: "file", accept: ".json,application/json", multiple: true, hidden: true });
  const open = button("Open JSON", () => input.click(), "Annotations saved here or by DeepHealth Annotate; or drop the file anywhere on the page", "ld-btn ld-marks-open");
  const saves = SAVES.map(([format, text, title]) => {
    const one = button(text, () => model.send({ type: "save", format }), `Save ${title}`);
    one.setAttribute("aria-label", `Save annotations as ${text}`);
    return one;
  });
  const status = element("span", { className: "ld-muted" });
  status.setAttribute("role", "status");
  const added = element("details", { className: "ld-marks-added" });
  el.append(labels, element("div", { className: "ld-marks-bar" }, "Save", ...saves, open, input, status), empty, list, added);

  const take = async (files) => {
    status.textContent = "";
    for (const file of files) {
      if (file.size > MAX_BYTES) { status.textContent = `${file.name} is too large for annotations.`; continue; }
      model.send({ type: "take", text: await file.text() });
    }
  };
  input.onchange = () => { take([...input.files]); input.value = ""; };
  // A JSON file dropped on the scan, or anywhere, is annotations: taken here before the zone for scans sees it.
  const onDrop = (event) => {
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!files.length || !files.every((file) => /\.json$/i.test(file.name))) return;
    event.preventDefault();
    event.stopPropagation();
    event.target.closest?.(".over")?.classList.remove("over");
    take(files);
  };
  const onDragOver = (event) => event.preventDefault();
  window.addEventListener("drop", onDrop, true);
  window.addEventListener("dragover", onDragOver);

  const showSlice = () => {
    const shown = String(model.get("shown"));
    for (const { node } of rows.values()) {
      if (node.dataset.slice === shown) node.setAttribute("aria-current", "true"); else node.removeAttribute("aria-current");
    }
  };
  const showMarks = () => {
    const marks = model.get("marks"), ids = new Set(marks.map((mark) => mark.id));
    for (const [id, row] of rows) if (!ids.has(id)) { row.node.remove(); rows.delete(id); }
    marks.forEach((mark, place) => {
      if (!rows.has(mark.id)) rows.set(mark.id, makeRow(model, mark.id, listId));
      const { node, update } = rows.get(mark.id);
      update(mark);
      if (list.children[place] !== node) list.insertBefore(node, list.children[place] ?? null);
    });
    for (const one of saves) one.disabled = !marks.length;
    open.disabled = !model.get("scan");
    empty.hidden = marks.length > 0;
    empty.textContent = model.get("scan")
      ? "Draw a box, a length, RECIST axes or an ellipse on the slice: it is listed and kept here."
      : "Load a scan first; what you draw on it is listed and kept here.";
    showSlice();
  };
  const showAdded = () => {
    const lesions = model.get("added");
    added.hidden = !lesions.length;
    added.replaceChildren(element("summary", { textContent: `Added to the collection: ${lesions.length}` }),
      element("ul", {}, ...lesions.map(({ lesion_id, text }) => {
        const show = button(text, () => model.send({ type: "open_added", id: lesion_id }), "Show it in its slices", "ld-mark-show");
        const remove = button("Remove", () => model.send({ type: "remove_added", id: lesion_id }));
        remove.setAttribute("aria-label", `Remove ${text} from the collection`);
        return element("li", { className: "ld-mark-added" }, show, remove);
      })));
  };
  const showLabels = () => labels.replaceChildren(...model.get("labels").map((value) => element("option", { value })));
  model.on("change:marks change:scan", showMarks);
  model.on("change:shown", showSlice);
  model.on("change:added", showAdded);
  model.on("change:labels", showLabels);
  const onMessage = (message, buffers) => { if (message.type === "file") saveFile(message.name, buffers[0], message.mime); };
  model.on("msg:custom", onMessage);
  showLabels(); showMarks(); showAdded();
  return () => {
    window.removeEventListener("drop", onDrop, true);
    window.removeEventListener("dragover", onDragOver);
    model.off("msg:custom", onMessage);
  };
}

export default { render };
