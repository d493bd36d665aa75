// Filter sliders beside the response. One question of a kind to the kernel at a time: what the hand passed over is never asked.
// Overlay, A/B and difference are made here, of bytes the page already has.
const SLIDERS = [
  ["alpha", "α flat against line", "1 − exp(−R_A²/2α²)", 0.05, 3, 0.05],
  ["beta", "β tolerance for round", "exp(−R_B²/2β²)", 0.05, 2, 0.05],
  ["gamma", "γ noise floor", "1 − exp(−S²/2γ²)", 0.002, 0.3, 0.001],
  ["rho", "ρ promotion", "0 printed formula, 1 contours", 0, 1, 0.01],
  ["sigma_from", "σ from", "", 0.4, 9, 0.2],
  ["sigma_to", "σ to", "", 0.6, 12, 0.2],
  ["sigma_step", "σ step", "", 0.1, 2, 0.1],
];
const INFERNO = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];
const VIRIDIS = [[71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [253, 231, 37]];
const WHY = "Point at a picture, or focus it and use the arrow keys, to see why a pixel is bright.";
const DIVERGING = [[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]];

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
// Colours are packed as canvas memory holds them: alpha, blue, green, red.
const pack = (r, g, b) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;

function colours(stops) {
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const at = i / 255 * (stops.length - 1), k = Math.min(Math.floor(at), stops.length - 2), part = at - k;
    return pack(...stops[k].map((value, channel) => Math.round(value + part * (stops[k + 1][channel] - value))));
  });
}
const BLACK = pack(0, 0, 0);
const [HOT, SCALE, DIFFERENCE] = [INFERNO, VIRIDIS, DIVERGING].map(colours);

function bytesOf(buffer) {
  return buffer instanceof DataView ? new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength) : new Uint8Array(buffer.buffer ?? buffer);
}
function paint(canvas, [height, width], colourAt) {
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const image = new ImageData(width, height), out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < out.length; i += 1) out[i] = colourAt(i);
  canvas.getContext("2d").putImageData(image, 0, 0);
}
const number = (value) => (value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3))));

function figure(name, title) {
  const canvas = element("canvas", { width: 64, height: 64, tabIndex: 0, title: title ?? "" });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", name);
  const cross = element("i", { className: "ld-cross", hidden: true });
  const caption = element("figcaption", { textContent: name });
  return { canvas, cross, caption, node: element("figure", {}, element("div", { className: "ld-frame" }, canvas, cross), caption) };
}
function choice(label, options) {
  const select = element("select", {}, ...options.map(([value, text]) => element("option", { value, textContent: text })));
  select.setAttribute("aria-label", label);
  return select;
}
function button(text, title, onclick) { return element("button", { className: "ld-btn", textContent: text, title, onclick }); }

function sliderGrid(values, ask) {
  const grid = element("div", { className: "ld-sliders" }), rows = {};
  for (const [name, title, hint, min, max, step] of SLIDERS) {
    const input = element("input", { type: "range", min, max, step, value: values[name], id: `ld-${name}-${Math.random().toString(36).slice(2)}` });
    const small = element("small", { textContent: hint });
    const output = element("output");
    rows[name] = { input, output, small };
    input.dataset.name = name;
    input.oninput = () => { values[name] = Number(input.value); ask(); };
    grid.append(element("label", { htmlFor: input.id }, title, small), input, output);
  }
  return { grid, rows };
}

// Ask the kernel one question of a kind at a time; while it answers, only the newest wish is kept.
function asker(model, kind, content) {
  let seq = 0, pending = false, stale = false;
  const ask = () => {
    if (pending) { stale = true; return; }
    const question = content();
    if (!question) return;
    pending = true; stale = false; seq += 1;
    model.send({ type: kind, seq, ...question });
  };
  ask.answered = (message) => {
    if (message.seq !== seq) return false;
    pending = false;
    return true;
  };
  ask.again = () => { if (stale) ask(); };
  return ask;
}

function whyText(t) {
  const place = `x ${t.x}, y ${t.y}: response ${number(t.response)} at σ ${number(t.sigma)} px (${number(t.sigma_mm)} mm)`;
  const parts = `λ₂ ${number(t.eigenvalues[1])}, λ₃ ${number(t.eigenvalues[2])} · R_A ${number(t.ra)} → A ${number(t.ra_factor)} · `
    + `R_B ${number(t.rb)} → B ${number(t.rb_factor)} · S ${number(t.s)} → C ${number(t.structure)}`;
  return [place, t.gated ? `${parts} · 0, since λ has the other sign than the structures asked for` : `${parts} · A·B·C`];
}

function render({ model, el }) {
  el.classList.add("ld-tune");
  const values = { ...model.get("values") };
  let last = null, frozen = null, opacity = 0.6, probe = null;
  const figures = {
    image: figure("image"), response: figure("response"), overlay: figure("overlay"), scale: figure("winning scale"),
    frozen: figure("A, frozen"), difference: figure("now − A"),
  };
  figures.frozen.node.hidden = figures.difference.node.hidden = true;
  const pictures = element("div", { className: "ld-pictures" }, ...Object.values(figures).map(({ node }) => node));
  const strip = element("div", { className: "ld-strip", role: "group" });
  strip.setAttribute("aria-label", "response of single scales");
  const why = element("p", { className: "ld-why" }, WHY);
  why.setAttribute("role", "status");

  const ask = asker(model, "params", () => values);
  const askWhy = asker(model, "probe", () => probe && { ...probe, scale: values.scale });
  const askPreset = asker(model, "preset", () => ({ name: preset.value }));
  const askEstimate = asker(model, "estimate", () => values);
  function change() {
    text.hidden = true;
    if (values.sigma_to < values.sigma_from) values.sigma_to = values.sigma_from;
    showValues();
    ask();
  }
  const { grid, rows } = sliderGrid(values, () => { values.scale = -1; change(); });

  const preset = choice("preset", [["", "Own values"], ...model.get("presets").map(({ name }) => [name, name])]);
  preset.onchange = () => { if (preset.value) askPreset(); };
  const hu = choice("window", [["", "Own window"], ...model.get("windows").map((name) => [name, name])]);
  hu.onchange = () => { if (hu.value) model.send({ type: "window", name: hu.value }); };
  const area = choice("area", [["region", "Region"], ["slice", "Whole slice"]]);
  area.onchange = () => { values.area = area.value; values.scale = -1; setProbe(null); change(); };
  const polarity = choice("structures", ["bright", "dark", "both"].map((value) => [value, value]));
  polarity.onchange = () => { values.polarity = polarity.value; change(); };
  const fit = button("Fit to box", "Suggest scales and γ from the box's size and strength", () => askEstimate());
  const freeze = button("Freeze as A", "Keep this response beside the next ones", () => {
    frozen = frozen || !last ? null : { ...last, values: { ...values } };
    compare();
  });
  // A and the present setting change places, and with them all that follows the filter; the first time, A is made.
  const flip = () => {
    if (!frozen) { freeze.click(); return; }
    const { values: wanted } = frozen;
    frozen = { ...last, values: { ...values } };
    Object.assign(values, wanted);
    change();
  };
  const swap = button("Space A ⇄ now", "A and the present setting change places (Space, on the slice or here)", flip);
  const onSpace = () => { if (last) flip(); };
  document.addEventListener("lesiondash-ab", onSpace);
  const fade = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: opacity, className: "ld-fade" });
  fade.setAttribute("aria-label", "overlay opacity");
  fade.oninput = () => { opacity = Number(fade.value); showOverlay(); };
  const copy = choice("copy settings as", [["", "Copy as …"], ["Python", "Python"], ["YAML", "YAML"], ["link", "Link"]]);
  const text = element("textarea", { className: "ld-copy", readOnly: true, hidden: true, rows: 4 });
  text.setAttribute("aria-label", "settings");
  copy.onchange = () => {
    text.hidden = !copy.value || !last;
    if (text.hidden) return;
    const said = last.copies[copy.value];
    text.value = copy.value === "link" ? location.href.split(/[?#]/)[0] + said : said;
    text.select();
    navigator.clipboard?.writeText(text.value).catch(() => {});
    copy.value = "";
  };
  const apply = button("", "Filter every lesion of the collection with this setting and window, and keep the responses", () => model.send({ type: "apply" }));
  const job = element("span");
  job.setAttribute("role", "status");
  const showJob = () => {
    const { running, text: said } = model.get("job");
    apply.textContent = running ? "Stop" : "Apply to collection";
    job.textContent = said;
  };
  model.on("change:job", showJob);
  showJob();
  const peak = element("span", { className: "ld-peak" });
  el.append(pictures, strip, why, element("div", { className: "ld-foot" },
    element("label", {}, "Preset ", preset), element("label", {}, "Show ", area), element("label", {}, "Structures ", polarity),
    element("label", {}, "Window ", hu),
    fit, freeze, swap, element("label", {}, "Overlay ", fade), copy, peak), text, grid,
    element("div", { className: "ld-foot" }, apply, job));

  function showValues() {
    for (const [name, { input, output }] of Object.entries(rows)) {
      input.value = values[name];
      output.textContent = name === "gamma" ? number(values[name]) : values[name].toFixed(2);
    }
    polarity.value = values.polarity;
    area.value = values.area;
    el.classList.toggle("ld-large", values.area === "slice");
    rows.alpha.small.textContent = values.rho === 1 ? "at ρ = 1 only a gain: R_A is 1 everywhere" : "1 − exp(−R_A²/2α²)";
  }
  function showOverlay() {
    if (!last) return;
    const { image, response } = last;
    paint(figures.overlay.canvas, last.size, (i) => {
      const part = opacity * response[i] / 255, grey = image[i] * (1 - part), hot = HOT[response[i]];
      return pack(grey + (hot & 255) * part, grey + (hot >> 8 & 255) * part, grey + (hot >> 16 & 255) * part);
    });
  }
  function compare() {
    const on = frozen !== null;
    freeze.textContent = on ? "Release A" : "Freeze as A";
    freeze.setAttribute("aria-pressed", String(on));
    swap.disabled = !on;
    figures.frozen.node.hidden = figures.difference.node.hidden = !on;
    if (!on) return;
    paint(figures.frozen.canvas, frozen.size, (i) => HOT[frozen.response[i]]);
    figures.frozen.caption.textContent = `A, frozen (strongest ${number(frozen.peak)})`;
    const same = String(frozen.size) === String(last.size), top = Math.max(frozen.peak, last.peak, 1e-12);
    figures.difference.caption.textContent = same ? "now − A (blue less, red more)" : "now − A: not the same pictures";
    paint(figures.difference.canvas, last.size, (i) => (same
      ? DIFFERENCE[Math.round(127.5 + 127.5 * (last.response[i] / 255 * last.peak - frozen.response[i] / 255 * frozen.peak) / top)]
      : DIFFERENCE[128]));
  }
  function showStrip() {
    const { scales, size } = last.strip;
    strip.replaceChildren(...scales.map((k, place) => {
      const canvas = element("canvas"), mm = last.sigmas[k] * last.px_mm;
      paint(canvas, size, (i) => HOT[last.single[place][i]]);
      const node = element("button", { title: `Show the response at σ ${last.sigmas[k]} px alone` }, canvas, `${mm.toFixed(1)} mm`);
      node.setAttribute("aria-pressed", String(values.scale === k));
      node.onclick = () => { values.scale = values.scale === k ? -1 : k; strip.focusAt = place; change(); };
      return node;
    }));
    if (strip.focusAt !== undefined) { strip.children[strip.focusAt]?.focus({ preventScroll: true }); delete strip.focusAt; }
  }
  function show(message, buffers) {
    const [image, response, scale, ...single] = buffers.map(bytesOf);
    last = { ...message, image, response, scale, single };
    const steps = Math.max(message.sigmas.length - 1, 1), mm = (px) => `${(px * message.px_mm).toFixed(1)} mm`;
    paint(figures.image.canvas, last.size, (i) => pack(image[i], image[i], image[i]));
    paint(figures.response.canvas, last.size, (i) => HOT[response[i]]);
    paint(figures.scale.canvas, last.size, (i) => (scale[i] ? SCALE[Math.round((scale[i] - 1) / steps * 255)] : BLACK));
    showOverlay(); compare(); showStrip();
    const [low, high] = [mm(message.sigmas[0]), mm(message.sigmas.at(-1))];
    figures.scale.caption.replaceChildren("winning scale", element("span", { className: "ld-legend" }, low, element("i"), high));
    figures.response.caption.textContent = values.scale < 0 ? "response" : `response at ${mm(message.sigmas[values.scale])} alone`;
    rows.gamma.small.textContent = `1 − exp(−S²/2γ²) · ${message.gamma_hu.toFixed(0)} HU of this window`;
    rows.sigma_from.small.textContent = low;
    rows.sigma_to.small.textContent = mm(values.sigma_to);
    rows.sigma_step.small.textContent = `${message.sigmas.length} scales`;
    preset.value = message.preset;
    hu.value = message.window;
    preset.title = model.get("presets").find(({ name }) => name === message.preset)?.meaning ?? "";
    peak.textContent = `strongest response ${number(message.peak)}`;
    el.dataset.seq = message.seq;
    el.dataset.peak = message.peak;
    if (probe) askWhy();
  }

  function setProbe(place) {
    probe = place;
    for (const { canvas, cross } of Object.values(figures)) {
      cross.hidden = !place;
      if (place) cross.style.cssText = `left:${(place.x + 0.5) / canvas.width * 100}%;top:${(place.y + 0.5) / canvas.height * 100}%`;
    }
    if (place) askWhy();
    else why.replaceChildren(WHY);
  }
  for (const { canvas } of Object.values(figures)) {
    canvas.onpointermove = canvas.onpointerdown = (event) => {
      const box = canvas.getBoundingClientRect(), at = (part, size) => Math.max(0, Math.min(size - 1, Math.floor(part * size)));
      setProbe({ x: at((event.clientX - box.left) / box.width, canvas.width), y: at((event.clientY - box.top) / box.height, canvas.height) });
    };
    canvas.onkeydown = (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault(); event.stopPropagation();
      const from = probe ?? { x: canvas.width >> 1, y: canvas.height >> 1 }, inside = (value, size) => Math.max(0, Math.min(size - 1, value));
      setProbe({ x: inside(from.x + step[0], canvas.width), y: inside(from.y + step[1], canvas.height) });
    };
  }

  const answers = {
    params: (message, buffers) => show(message, buffers),
    probe: (message) => { const [first, second] = whyText(message); why.replaceChildren(element("b", { textContent: first }), element("span", { textContent: second })); },
    preset: (message) => { Object.assign(values, message.values, { scale: -1 }); change(); },
    estimate: (message) => { Object.assign(values, message.values, { scale: -1 }); change(); },
  };
  const questions = { params: ask, probe: askWhy, preset: askPreset, estimate: askEstimate };
  model.on("msg:custom", (message, buffers) => {
    const kind = message.type === "refused" ? message.of : message.type, question = questions[kind];
    if (!question?.answered(message)) return;
    if (message.type !== "refused") answers[kind](message, buffers);
    question.again();
  });
  model.on("change:revision", change);
  change(); compare();
  return () => document.removeEventListener("lesiondash-ab", onSpace);
}

export default { render };
