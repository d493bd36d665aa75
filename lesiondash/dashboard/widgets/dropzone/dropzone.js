// A drop zone that takes files, folders and zips of any size: 2 MiB chunks, four on their way at a time.
const CHUNK = 2 * 1024 * 1024;
const IN_FLIGHT = 4;

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

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

// Sends files to the kernel, waiting for acknowledgements, so that nothing piles up on the way.
function makeSender(model, onProgress) {
  let waiting = null, pending = 0, stopped = false;
  const wake = () => { waiting?.(); waiting = null; };
  model.on("msg:custom", (message) => {
    if (message.type === "ack") { pending -= 1; wake(); }
    if (message.type === "refused") { stopped = true; pending = 0; wake(); }
  });
  return {
    stop() { stopped = true; wake(); },
    async send(files) {
      stopped = false; pending = 0;
      const total = files.reduce((sum, file) => sum + file.size, 0);
      const start = performance.now();
      let sent = 0;
      model.send({ type: "begin" });
      for (const [number, file] of files.entries()) {
        for (let offset = 0; offset === 0 || offset < file.size; offset += CHUNK) {
          const bytes = await file.slice(offset, offset + CHUNK).arrayBuffer();
          while (pending >= IN_FLIGHT && !stopped) await new Promise((resolve) => { waiting = resolve; });
          if (stopped) { model.send({ type: "cancel" }); return false; }
          pending += 1;
          model.send({ type: "chunk", file: number, name: file.name, offset }, undefined, [bytes]);
          sent += bytes.byteLength;
          onProgress(sent, total, (performance.now() - start) / 1000);
        }
      }
      model.send({ type: "end" });
      return true;
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
  const drop = element("div", { className: "ld-drop" }, "Drop CT scans: DICOM files, a folder or a zip",
    element("div", {}, pickFiles, pickFolder), filesInput, folderInput);
  const status = element("div", { hidden: true });
  status.setAttribute("role", "status");
  const scans = element("div"), cases = element("div"), rejected = element("div");
  el.append(drop, status, rejected, scans, cases);

  const bar = element("progress", { max: 1 });
  const text = element("span");
  const stop = element("button", { className: "ld-btn", textContent: "Stop" });
  status.append(bar, text, " ", stop);
  const showBusy = (words, share) => {
    status.hidden = !words;
    text.textContent = words;
    if (share === undefined) bar.removeAttribute("value"); else bar.value = share;
    stop.hidden = share === undefined;
  };
  const sender = makeSender(model, (sent, total, seconds) => {
    const left = sent ? Math.ceil(seconds * (total - sent) / sent) : 0;
    showBusy(`${(sent / 1e6).toFixed(0)} of ${(total / 1e6).toFixed(0)} MB, ${left} s left`, total ? sent / total : 1);
  });
  stop.onclick = () => { sender.stop(); showBusy(""); };
  const take = async (files) => {
    if (!files.length) return;
    if (await sender.send(files)) showBusy("Reading the scan …"); else showBusy("");
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
  const showScans = () => {
    const list = model.get("scans").map((scan) => {
      const canvas = element("canvas");
      drawThumbnail(canvas, scan.thumbnail);
      const label = element("span", {}, scan.title, element("small", { textContent: scan.text }));
      for (const note of scan.notes) label.append(element("small", { textContent: note }));
      return item(label, scan.uid === model.get("active"), () => model.send({ type: "show", uid: scan.uid }), canvas);
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
  const onBusy = () => showBusy(model.get("busy"));
  model.on("change:scans change:active", showScans);
  model.on("change:cases", showCases);
  model.on("change:rejected", showRejected);
  model.on("change:busy", onBusy);
  showScans(); showCases(); showRejected(); onBusy();
  return () => {
    window.removeEventListener("dragover", swallow);
    window.removeEventListener("drop", swallow);
  };
}

export default { render };
