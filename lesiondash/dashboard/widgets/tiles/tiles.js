// Result tiles: HU crops, windowed like the slice beside them, so that query and results can be compared.
const SIDE = 64;

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function asInt16(view) {
  return new Int16Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function paint(canvas, hu, [center, width]) {
  canvas.width = canvas.height = SIDE;
  const image = new ImageData(SIDE, SIDE), out = new Uint32Array(image.data.buffer), low = center - width / 2;
  for (let i = 0; i < hu.length; i += 1) {
    const grey = Math.max(0, Math.min(255, (hu[i] - low) * 255 / width)) | 0;
    out[i] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// Neighbours crowd near 1: four decimals tell them apart. No share is finer than one of the random pairs.
const cosine = (hit) => hit.similarity.toFixed(4);
const top = (hit) => (hit.top_percent < 0.1 ? "< 0.1" : hit.top_percent.toFixed(1));

const TYPE_HINT = "Probability of the lesion's type, by a calibrated classifier of its vector";

function describe(hit) {
  const similarity = hit.similarity === null ? "" : `, similarity ${cosine(hit)}, top ${top(hit)} percent of random pairs`;
  return `${hit.rank}: ${hit.type}, ${hit.size_mm} mm, patient ${hit.patient_id}${similarity}`;
}

function render({ model, el }) {
  el.classList.add("ld-results");
  const scopes = element("div", { className: "ld-scopes", role: "radiogroup" });
  scopes.setAttribute("aria-label", "Search among");
  const status = element("span"), back = element("button", { className: "ld-btn", textContent: "Back to the nine" });
  status.setAttribute("role", "status");
  back.onclick = () => model.send({ type: "back" });
  const grid = element("div", { className: "ld-grid" });
  el.append(scopes, grid);
  let canvases = [];

  const buttons = model.get("scopes").map(({ scope, title }) => {
    const node = element("button", { className: "ld-btn", textContent: title, onclick: () => model.send({ type: "scope", scope }) });
    node.setAttribute("role", "radio");
    node.dataset.scope = scope;
    return node;
  });
  scopes.append(...buttons, status, back);

  function showHead() {
    for (const node of buttons) node.setAttribute("aria-checked", String(node.dataset.scope === model.get("scope")));
    const title = model.get("title");
    status.textContent = title || model.get("status");
    back.hidden = !title;
  }
  function tile(hit, canvas) {
    const text = element("div", { className: "ld-text" },
      element("b", { textContent: hit.type }), element("span", { textContent: `${hit.size_mm} mm` }));
    if (hit.similarity !== null) {
      text.append(element("span", { textContent: `cos ${cosine(hit)}` }),
        element("span", { textContent: `top ${top(hit)} %`, title: "Share of random pairs of different patients that are at least as similar" }));
    }
    text.append(element("span", { className: "ld-patient", textContent: `pat. ${hit.patient_id}` }));
    const node = element("button", { className: "ld-tile", title: "Show in its slice", onclick: () => model.send({ type: "open", lesion_id: hit.lesion_id }) },
      element("div", { className: "ld-pic" }, canvas, element("span", { className: "ld-rank", textContent: hit.rank })), text);
    node.setAttribute("aria-label", describe(hit));
    node.setAttribute("aria-pressed", String(hit.lesion_id === model.get("opened")));
    node.dataset.lesion = hit.lesion_id;
    return node;
  }
  function showHits() {
    const hits = model.get("hits"), query = model.get("query");
    canvases = hits.map(() => element("canvas"));
    const nodes = hits.map((hit, i) => tile(hit, canvases[i]));
    if (query.byteLength && !model.get("title")) {
      const canvas = element("canvas");
      canvas.dataset.query = "yes";
      nodes.unshift(element("div", { className: "ld-tile" }, element("div", { className: "ld-pic" }, canvas),
        element("div", { className: "ld-text" }, element("b", { textContent: "your box" }),
          ...model.get("types").map(([type, share]) => element("span", { textContent: `${type} ${Math.round(100 * share)} %`, title: TYPE_HINT })))));
    }
    if (!hits.length) nodes.push(element("div", { className: "ld-hint", textContent: "Draw a box on the slice: its nine nearest lesions appear here." }));
    grid.replaceChildren(...nodes);
    showPictures();
  }
  function showPictures() {
    const crops = asInt16(model.get("crops")), window = model.get("window");
    canvases.forEach((canvas, i) => paint(canvas, crops.subarray(i * SIDE * SIDE, (i + 1) * SIDE * SIDE), window));
    const query = grid.querySelector("canvas[data-query]");
    if (query) paint(query, asInt16(model.get("query")), window);
  }
  function showOpened() {
    for (const node of grid.querySelectorAll("button.ld-tile")) node.setAttribute("aria-pressed", String(node.dataset.lesion === model.get("opened")));
  }
  model.on("change:scope change:title change:status", showHead);
  model.on("change:hits change:crops change:query change:title change:types", () => queueMicrotask(showHits));
  model.on("change:window", showPictures);
  model.on("change:opened", showOpened);
  showHead(); showHits();
}

export default { render };
