// Filter sliders beside the response. One question to the kernel at a time: what the hand passed over meanwhile is never asked.
const SLIDERS = [
  ["alpha", "α plate or line", "only a gain at ρ = 1", 0.05, 3, 0.05],
  ["beta", "β blob-likeness", "tolerance for round shapes", 0.05, 2, 0.05],
  ["gamma", "γ noise floor", "", 0.002, 0.3, 0.001],
  ["rho", "ρ promotion", "0 printed formula, 1 contours", 0, 1, 0.05],
  ["sigma_from", "σ from", "", 0.6, 9, 0.2],
  ["sigma_to", "σ to", "", 0.6, 12, 0.2],
  ["sigma_step", "σ step", "", 0.2, 2, 0.1],
];
const INFERNO = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];
const VIRIDIS = [[0, 0, 0], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [253, 231, 37]];
const GREY = [[0, 0, 0], [255, 255, 255]];

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function colour(stops) {
  return Array.from({ length: 256 }, (_, i) => {
    const at = i / 255 * (stops.length - 1), k = Math.min(Math.floor(at), stops.length - 2), part = at - k;
    return stops[k].map((value, channel) => Math.round(value + part * (stops[k + 1][channel] - value)));
  });
}
const MAPS = [GREY, INFERNO, VIRIDIS].map(colour);

function paint(canvas, bytes, size, map) {
  canvas.width = canvas.height = size;
  const image = new ImageData(size, size);
  for (let i = 0; i < size * size; i += 1) {
    const [r, g, b] = map[bytes.getUint8(i)];
    image.data.set([r, g, b, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function view(buffer) {
  return buffer instanceof DataView ? buffer : new DataView(buffer.buffer ?? buffer, buffer.byteOffset ?? 0, buffer.byteLength);
}

function render({ model, el }) {
  el.classList.add("ld-tune");
  const first = model.get("values"), values = { ...first };
  const grid = element("div", { className: "ld-sliders" });
  const rows = {};
  SLIDERS.forEach(([name, title, hint, min, max, step]) => {
    const input = element("input", { type: "range", min, max, step, value: values[name], id: `ld-${name}-${Math.random().toString(36).slice(2)}` });
    const small = element("small", { textContent: hint });
    const label = element("label", { htmlFor: input.id }, title, small);
    const output = element("output");
    rows[name] = { input, output, small };
    input.dataset.name = name;
    input.oninput = () => { values[name] = Number(input.value); ask(); };
    grid.append(label, input, output);
  });
  const polarity = element("select", {}, ...["bright", "dark", "both"].map((value) => element("option", { value, textContent: value })));
  polarity.setAttribute("aria-label", "polarity");
  polarity.onchange = () => { values.polarity = polarity.value; ask(); };
  const reset = element("button", { className: "ld-btn", textContent: "Paper's values" });
  reset.onclick = () => { Object.assign(values, first); ask(); };
  const peak = element("span");
  peak.setAttribute("role", "status");
  const pictures = ["region", "response", "winning scale"].map((name) => {
    const canvas = element("canvas", { width: 64, height: 64 });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", name);
    return { canvas, node: element("figure", {}, canvas, element("figcaption", { textContent: name })) };
  });
  el.append(grid, element("div", { className: "ld-pictures" }, ...pictures.map(({ node }) => node)),
    element("div", { className: "ld-foot" }, "Structures", polarity, reset, peak));

  let seq = 0, pending = false, stale = false;
  function ask() {
    if (values.sigma_to < values.sigma_from) values.sigma_to = values.sigma_from;
    showValues();
    if (pending) { stale = true; return; }
    pending = true; stale = false; seq += 1;
    model.send({ type: "params", seq, ...values });
  }
  function showValues() {
    for (const [name, { input, output }] of Object.entries(rows)) {
      input.value = values[name];
      output.textContent = values[name].toFixed(name === "gamma" ? 3 : 2);
    }
    polarity.value = values.polarity;
    rows.alpha.small.textContent = values.rho === 1 ? "only a gain at ρ = 1" : "tolerance for flat shapes";
  }
  model.on("msg:custom", (message, buffers) => {
    if (message.seq !== seq) return;
    pending = false;
    if (message.type === "response") {
      pictures.forEach(({ canvas }, i) => paint(canvas, view(buffers[i]), message.size, MAPS[i]));
      const mm = (px) => `${(px * message.px_mm).toFixed(1)} mm`;
      rows.gamma.small.textContent = `${message.gamma_hu.toFixed(0)} HU of this window`;
      rows.sigma_from.small.textContent = mm(message.sigma_px[0]);
      rows.sigma_to.small.textContent = mm(message.sigma_px[1]);
      rows.sigma_step.small.textContent = `${message.scales} scales`;
      peak.textContent = `strongest response ${message.peak.toFixed(3)}`;
      el.dataset.seq = message.seq;
      el.dataset.peak = message.peak;
    }
    if (stale) ask();
  });
  model.on("change:revision", ask);
  ask();
}

export default { render };
