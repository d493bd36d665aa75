// A drop zone that takes files, folders and zips of any size, in chunks, a few of them on their way at a time.
const MIB = 1024 * 1024;
const SMALLEST = MIB / 16, FIRST = MIB / 4, LARGEST = 4 * MIB;
const QUICK_MS = 400, SLOW_MS = 2000;
const IN_FLIGHT = 4, MOST_PARTS = 200;

function readEntries(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

// Folders dropped on the page come as entries, to be walked; readEntries hands out a part at a time.
async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const files = [];
  for (let part = await readEntries(reader); part.length; part = await readEntries(reader)) {
    for (const child of part) files.push(...await filesOf(child));
  }
  return files;
}

async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  return (await Promise.all(entries.map(filesOf))).flat();
}

// What one message carries: a piece of a large file, or many small files, so that messages are few.
function packet(files, number, offset, size) {
  const parts = [], pieces = [];
  let room = size;
  while (number < files.length && (room > 0 || !parts.length) && parts.length < MOST_PARTS) {
    const file = files[number], length = Math.min(room, file.size - offset);
    parts.push({ file: number, name: file.name, offset, length });
    pieces.push(file.slice(offset, offset + length));
    room -= length;
    offset += length;
    if (offset >= file.size) { number += 1; offset = 0; }
  }
  return { parts, content: new Blob(pieces), number, offset };
}

// Sends files to the kernel, waiting for acknowledgements, so that nothing piles up on the way. Over a slow link the
// chunks become small, so that the progress moves and a stop is heard.
function makeSender(model, onProgress) {
  let waiting = null, stopped = false, acknowledged = 0, total = 0, chunk = FIRST;
  const underway = [];
  const wake = () => { waiting?.(); waiting = null; };
  const until = async (ready) => { while (!ready() && !stopped) await new Promise((resolve) => { waiting = resolve; }); };
  model.on("msg:custom", (message) => {
    if (message.type === "refused") { stopped = true; wake(); }
    if (message.type !== "ack" || !underway.length) return;
    const { size, start } = underway.shift(), elapsed = performance.now() - start;
    if (elapsed < QUICK_MS) chunk = Math.min(LARGEST, 2 * chunk);
    else if (elapsed > SLOW_MS) chunk = Math.max(SMALLEST, chunk / 2);
    acknowledged += size;
    if (!stopped) onProgress(acknowledged, total);
    wake();
  });
  return {
    stop() { stopped = true; wake(); },
    async send(files) {
      stopped = false; acknowledged = 0; underway.length = 0; chunk = FIRST;
      total = files.reduce((sum, file) => sum + file.size, 0);
      model.send({ type: "begin" });
      for (let next = packet(files, 0, 0, chunk); next.parts.length; next = packet(files, next.number, next.offset, chunk)) {
        const bytes = await next.content.arrayBuffer();
        await until(() => underway.length < IN_FLIGHT);
        if (stopped) break;
        underway.push({ size: bytes.byteLength, start: performance.now() });
        model.send({ type: "chunk", parts: next.parts }, undefined, [bytes]);
      }
      await until(() => !underway.length);
      model.send({ type: stopped ? "cancel" : "end" });
      return !stopped;
    },
  };
}

function drawThumbnail(canvas, grey) {
  const size = Math.round(Math.sqrt(grey.length));
  canvas.width = canvas.height = size;
  const image = new ImageData(size, size);
  grey.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function render({ model, el }) {
  el.classList.add("ld-load");
  const filesInput = element("input", { type: "file", multiple: true, hidden: true });
  const folderInput = element("input", { type: "file", webkitdirectory: true, hidden: true });
  const pickFiles = element("button", { className: "ld-btn", textContent: "Files or zip" });
  const pickFolder = element("button", { className: "ld-btn", textContent: "Folder" });
  const drop = element("div", { className: "ld-drop" }, "Drop scans: DICOM files, a folder or a zip",
    element("div", {}, pickFiles, pickFolder), filesInput, folderInput);
  const status = element("div", { className: "ld-work", hidden: true });
  const scans = element("div"), cases = element("div"), rejected = element("div");
  el.append(drop, status, rejected, scans, cases);

  const bar = element("progress", { max: 1 });
  bar.setAttribute("aria-label", "How much is done");
  const text = element("span");
  const stop = element("button", { className: "ld-btn", textContent: "Stop", type: "button" });
  const said = element("p", { className: "ld-said" });
  said.setAttribute("role", "status");
  drop.after(said);
  status.append(bar, element("div", {}, text, stop));
  let sending = false, started = 0;
  const showWork = (verb, done, total) => {
    const seconds = (performance.now() - started) / 1000, left = done ? Math.ceil(seconds * (total - done) / done) : 0;
    const mb = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
    status.hidden = false;
    status.dataset.work = verb;
    // what a zip unpacks to says nothing to a hand that dropped it: reading is told in per cent
    const share = verb === "Reading" ? `${Math.floor(100 * done / total)}\u202f%` : `${mb(done)} of ${mb(total)}\u00a0MB`;
    text.textContent = `${verb}: ${share}${seconds > 1 && left ? `, about ${left}\u00a0s left` : ""}`;
    if (done) bar.value = total ? Math.min(1, done / total) : 1; else bar.removeAttribute("value");
    stop.setAttribute("aria-label", `Stop ${verb.toLowerCase()}`);
  };
  const rest = () => { status.hidden = true; delete status.dataset.work; };
  const busy = () => sending || model.get("reading").length > 0;
  const sender = makeSender(model, (sent, total) => showWork("Uploading", sent, total));
  stop.onclick = () => {
    if (!sending) { model.send({ type: "cancel" }); text.textContent = "Stopping …"; return; }
    sender.stop();
    said.textContent = "The upload was stopped; nothing was loaded.";
  };
  const take = async (files) => {
    if (!files.length) return;
    if (busy()) { said.textContent = "Another scan is on its way; wait for it, or stop it."; return; }
    sending = true;
    said.textContent = "";
    started = performance.now();
    showWork("Uploading", 0, files.reduce((sum, file) => sum + file.size, 0));
    const sent = await sender.send(files);
    sending = false;
    if (!sent) rest();
  };
  const onReading = () => {
    const [done, total] = model.get("reading");
    if (total === undefined) { if (!sending) rest(); return; }
    if (!done) started = performance.now();
    showWork("Reading", done, total);
  };
  pickFiles.onclick = () => filesInput.click();
  pickFolder.onclick = () => folderInput.click();
  for (const input of [filesInput, folderInput]) input.onchange = () => { take([...input.files]); input.value = ""; };

  drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
  drop.ondragleave = () => drop.classList.remove("over");
  drop.ondrop = async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(await droppedFiles(event.dataTransfer));
  };
  // A file that misses the zone would replace the page and lose everything on it.
  const swallow = (event) => event.preventDefault();
  window.addEventListener("dragover", swallow);
  window.addEventListener("drop", swallow);

  const item = (label, current, onclick, canvas) => {
    const node = element("button", { className: "ld-item", onclick }, ...(canvas ? [canvas] : []), label);
    node.setAttribute("aria-current", String(current));
    return node;
  };
  // What is unusual about a scan: its first words at once, the rest on opening it; kept open when the list is redrawn.
  const opened = new Set();
  const remarks = ({ uid, notes }) => {
    if (!notes.length) return [];
    const summary = element("summary"), list = element("ul", {}, ...notes.map((note) => element("li", { textContent: note })));
    const details = element("details", { className: "ld-notes", open: opened.has(uid) }, summary, list);
    const name = () => {
      const first = notes.length > 1 ? `${notes.length} remarks: ${notes[0]}` : notes[0];
      summary.textContent = details.open ? "Remarks" : first;
      summary.title = details.open ? "" : first;
    };
    details.ontoggle = () => { if (details.open) opened.add(uid); else opened.delete(uid); name(); };
    name();
    return [details];
  };
  const showScans = () => {
    const list = model.get("scans").map((scan) => {
      const canvas = element("canvas");
      drawThumbnail(canvas, scan.thumbnail);
      const label = element("span", {}, scan.title, element("small", { textContent: scan.text }));
      const button = item(label, scan.uid === model.get("active"), () => model.send({ type: "show", uid: scan.uid }), canvas);
      const beside = element("button", { className: "ld-btn ld-beside", textContent: "Beside", title: "Show it beside the scan that is open", onclick: () => model.send({ type: "beside", uid: scan.uid }) });
      beside.setAttribute("aria-label", `Beside the open scan: ${scan.title}`);
      beside.hidden = !model.get("active") || scan.uid === model.get("active");
      return element("div", { className: "ld-scan" }, button, beside, ...remarks(scan));
    });
    scans.replaceChildren(...(list.length ? [element("h3", { textContent: "Loaded" }), element("div", { className: "ld-list" }, ...list)] : []));
  };
  const showCases = () => {
    const list = model.get("cases").map(({ name, title }) => item(element("span", {}, title,
      element("small", { textContent: name.replace("_", " ") })), false, () => model.send({ type: "case", name })));
    cases.replaceChildren(...(list.length ? [element("h3", { textContent: "Demonstration (generated)" }), element("div", { className: "ld-list" }, ...list)] : []));
  };
  const showRejected = () => {
    const list = model.get("rejected");
    rejected.replaceChildren(...(list.length ? [element("h3", { textContent: `Not read: ${list.length}` }),
      element("ul", { className: "ld-rejected" }, ...list.map(({ name, reason }) =>
        element("li", {}, element("b", { textContent: name }), " ", reason)))] : []));
  };
  model.on("change:scans change:active", showScans);
  model.on("change:cases", showCases);
  model.on("change:rejected", showRejected);
  model.on("change:reading", onReading);
  showScans(); showCases(); showRejected(); onReading();
  return () => {
    window.removeEventListener("dragover", swallow);
    window.removeEventListener("drop", swallow);
  };
}

export default { render };
