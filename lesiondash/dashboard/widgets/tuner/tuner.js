// Filter sliders beside the response. One question of a kind to the kernel at a time: what the hand passed over is never asked.
// Overlay, A/B and difference are made here, of bytes the page already has.
function button(text, title, onclick) { return element("button", { className: "ld-btn", textContent: text, title, onclick }); }
function tick(text, title, onchange) {
  const box = element("input", { type: "checkbox", onchange: () => onchange(box.checked) });
  return { box, node: element("label", { title }, box, text) };
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

// Apply the setting to the whole collection: what for, start or stop, how far and how long still.
function applyRow(model) {
  const mode = choice("responses as", [["replace", "in place of the images"], ["channel", "as one more channel"]]);
  const run = button("", "Filter every lesion of the collection with this setting and window, and keep the responses beside it",
    () => model.send({ type: "apply", mode: mode.value }));
  const bar = element("progress", { max: 1, hidden: true }), said = element("span");
  said.setAttribute("role", "status");
  let started = 0;
  const show = () => {
    const { running, text, share } = model.get("job");
    if (running && !started) started = performance.now();
    if (!running) started = 0;
    const left = running && share ? Math.ceil((performance.now() - started) / 1000 * (1 - share) / share) : 0;
    run.textContent = running ? "Stop" : "Apply to collection";
    bar.hidden = !running;
    bar.value = share || 0;
    said.textContent = text + (left > 1 ? ` · about ${left} s left` : "");
  };
  model.on("change:job", show);
  show();
  return element("div", { className: "ld-foot" }, element("label", {}, "Responses ", mode), run, bar, said);
}

function copyAs(textOf) {
  const copy = choice("copy settings as", [["", "Copy as …"], ["Python", "Python"], ["YAML", "YAML"], ["link", "Link"]]);
  const text = element("textarea", { className: "ld-copy", readOnly: true, hidden: true, rows: 4 });
  text.setAttribute("aria-label", "settings");
  copy.onchange = () => {
    const said = copy.value && textOf(copy.value);
    text.hidden = !said;
    if (!said) return;
    text.value = said;
    text.select();
    navigator.clipboard?.writeText(said).catch(() => {});
    copy.value = "";
  };
  return { copy, text };
}

function render({ model, el }) {
  el.classList.add("ld-tune");
  const values = { ...model.get("values") };
  let last = null, frozen = null, opacity = 0.6, probe = null, waiting = 0;
  const figures = {
    image: figure("image"), response: figure("response"), overlay: figure("overlay"), scale: figure("winning scale"),
    frozen: figure("A, frozen"), difference: figure("now − A"),
  };
  figures.frozen.node.hidden = figures.difference.node.hidden = true;
  const pictures = element("div", { className: "ld-pictures" }, ...Object.values(figures).map(({ node }) => node));
  const strip = element("div", { className: "ld-strip", role: "group" }), why = whyTable();
  strip.setAttribute("aria-label", "response of single scales, σ in mm");
  const empty = element("p", { className: "ld-none", textContent: "Open a scan, then draw a box (R) on it: the filter's response to it appears here, and follows the sliders." });

  const ask = asker(model, "params", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { if (last) peak.textContent = "computing …"; }, 400);
    return values;
  });
  const askWhy = asker(model, "probe", () => probe && { ...probe, scale: values.scale });
  const askPreset = asker(model, "preset", () => ({ name: preset.value }));
  const askEstimate = asker(model, "estimate", () => values);
  function change() {
    text.hidden = true;
    if (values.sigma_to < values.sigma_from) values.sigma_to = values.sigma_from;
    showValues();
    ask();
  }
  const { grid, rows } = sliderGrid(values, (name) => {
    values.scale = -1;
    if (name === "gamma") values.gamma_auto = false;
    if (name.startsWith("sigma")) values.sigmas = [];
    change();
  });
  const auto = tick("γ automatic", "Half the strongest S of what is shown, at any scale", (on) => { values.gamma_auto = on; change(); });
  const full = tick("full range", "Divide by the largest A, so that the strongest response possible is 1", (on) => { values.normalise = on; change(); });

  const preset = choice("preset", [["", "own values"], ...model.get("presets").map(({ name }) => [name, name])]);
  preset.value = values.preset ?? "";
  preset.onchange = () => { if (preset.value) askPreset(); };
  const meaning = element("p", { className: "ld-meaning" });
  const hu = choice("window", [["", "own window"], ...model.get("windows").map((name) => [name, name])]);
  hu.onchange = () => { if (hu.value) model.send({ type: "window", name: hu.value }); };
  const area = choice("area", [["region", "the box"], ["slice", "the whole slice"]]);
  area.onchange = () => { values.area = area.value; values.scale = -1; setProbe(null); change(); };
  const polarity = choice("structures", ["bright", "dark", "both"].map((value) => [value, value]));
  polarity.onchange = () => { values.polarity = polarity.value; change(); };
  const fit = button("Estimate from this box", "Scales from the box's size and γ from its strength", () => askEstimate());
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
  const { copy, text } = copyAs((kind) => last && (kind === "link" ? location.href.split(/[?#]/)[0] : "") + last.copies[kind]);
  const peak = element("span", { className: "ld-peak" });
  el.append(element("div", { className: "ld-foot" }, element("label", {}, "Show ", area), element("label", {}, "Structures ", polarity),
    element("label", {}, "Window ", hu), element("label", {}, "Preset ", preset)), meaning, empty, pictures, strip, grid,
  element("div", { className: "ld-foot" }, auto.node, full.node, fit, freeze, swap, element("label", {}, "Overlay ", fade), copy, peak), text,
  why.node, applyRow(model));

  function showValues() {
    const hints = hintsOf(values, last), { formula } = values;
    for (const [name, { input, output, small }] of Object.entries(rows)) {
      input.value = values[name];
      small.textContent = hints[name];
      output.textContent = name === "gamma" ? number(values[name]) : values[name].toFixed(2);
    }
    if (values.gamma_auto) rows.gamma.output.textContent = last?.gamma ? number(last.gamma) : "auto";
    rows.rho.input.disabled = formula === "objectness" || formula === "skimage";
    rows.alpha.input.disabled = formula === "skimage";
    full.box.disabled = rows.rho.input.disabled;
    [auto.box.checked, full.box.checked] = [values.gamma_auto, values.normalise];
    polarity.value = values.polarity;
    area.value = values.area;
    el.classList.toggle("ld-large", values.area === "slice");
  }
  function showOverlay() {
    if (!last) return;
    const { image, response } = last;
    paint(figures.overlay.canvas, last.size, last.aspect, (i) => {
      const part = opacity * response[i] / 255, grey = image[i] * (1 - part), hot = HOT[response[i]];
      return pack(grey + (hot & 255) * part, grey + (hot >> 8 & 255) * part, grey + (hot >> 16 & 255) * part);
    });
  }
  // Beside A both are drawn up to the stronger of the two peaks: else a mere gain would not be seen.
  function compare() {
    const on = frozen !== null, top = Math.max(frozen?.peak ?? 0, last?.peak ?? 0, 1e-12);
    freeze.textContent = on ? "Release A" : "Freeze as A";
    freeze.setAttribute("aria-pressed", String(on));
    swap.disabled = !on;
    figures.frozen.node.hidden = figures.difference.node.hidden = !on;
    if (!last) return;
    const draw = (canvas, from) => paint(canvas, from.size, from.aspect, (i) => HOT[Math.round(from.response[i] * (on ? from.peak / top : 1))]);
    draw(figures.response.canvas, last);
    const alone = values.scale < 0 ? "response" : `response at ${mm(last.sigmas[values.scale])} alone`;
    figures.response.caption.textContent = on ? `${alone}, now` : alone;
    if (!on) return;
    draw(figures.frozen.canvas, frozen);
    figures.frozen.caption.textContent = `A, frozen: strongest ${number(frozen.peak)}`;
    const same = frozen.shown === last.shown && String(frozen.size) === String(last.size);
    figures.difference.caption.textContent = same ? "now − A: blue less, red more" : "now − A: A is of another place or window";
    paint(figures.difference.canvas, last.size, last.aspect, (i) => (same
      ? DIFFERENCE[Math.round(127.5 + 127.5 * (last.response[i] / 255 * last.peak - frozen.response[i] / 255 * frozen.peak) / top)]
      : DIFFERENCE[128]));
  }
  const mm = (px) => `${(px * last.px_mm).toFixed(1)} mm`;
  function showStrip() {
    const { scales, size } = last.strip;
    strip.replaceChildren(element("span", { textContent: "each scale alone, σ in mm" }), ...scales.map((k, place) => {
      const canvas = element("canvas");
      paint(canvas, size, last.aspect, (i) => HOT[last.single[place][i]]);
      const node = element("button", { title: `Show the response at σ ${mm(last.sigmas[k])} (${last.sigmas[k]} px) alone` }, canvas, (last.sigmas[k] * last.px_mm).toFixed(1));
      node.setAttribute("aria-pressed", String(values.scale === k));
      node.onclick = () => { values.scale = values.scale === k ? -1 : k; strip.focusAt = place; change(); };
      return node;
    }));
    if (strip.focusAt !== undefined) { strip.querySelectorAll("button")[strip.focusAt]?.focus({ preventScroll: true }); delete strip.focusAt; }
  }
  function show(message, buffers) {
    const [image, response, scale, ...single] = buffers.map(bytesOf);
    last = { ...message, image, response, scale, single };
    const steps = Math.max(message.sigmas.length - 1, 1);
    paint(figures.image.canvas, last.size, last.aspect, (i) => pack(image[i], image[i], image[i]));
    paint(figures.scale.canvas, last.size, last.aspect, (i) => (scale[i] ? SCALE[Math.round((scale[i] - 1) / steps * 255)] : BLACK));
    showOverlay(); compare(); showStrip(); showValues();
    figures.image.caption.textContent = last.place;
    figures.scale.caption.replaceChildren("winning scale σ", element("span", { className: "ld-legend" }, mm(last.sigmas[0]), element("i"), mm(last.sigmas.at(-1))));
    preset.value = message.preset;
    hu.value = message.window;
    meaning.textContent = model.get("presets").find(({ name }) => name === message.preset)?.meaning
      ?? (values.formula === "promotion" ? "Own values." : `Own values in the formula “${values.formula}”; choose a preset to leave it.`);
    showPeak();
    el.dataset.seq = message.seq;
    el.dataset.peak = message.peak;
    if (probe) askWhy();
    showEmpty();
  }
  function showPeak() {
    if (!last) return;
    // Which code computes is told where it is the slow one for good.
    const slow = /cannot be loaded|not installed/.test(last.engine) ? ` · ${last.engine}` : "";
    peak.textContent = `strongest response ${number(last.peak)}${slow}`;
    peak.title = last.engine;
  }
  function showEmpty() {
    empty.hidden = last !== null;
    for (const node of [pictures, strip, why.node]) node.hidden = last === null;
  }

  function setProbe(place) {
    probe = place;
    for (const { canvas, cross } of Object.values(figures)) {
      cross.hidden = !place;
      if (place) cross.style.cssText = `left:${(place.x + 0.5) / canvas.width * 100}%;top:${(place.y + 0.5) / canvas.height * 100}%`;
    }
    if (place) askWhy();
    else why.show(null, values, last);
  }
  for (const { canvas } of Object.values(figures)) {
    canvas.onpointermove = canvas.onpointerdown = (event) => {
      const box = canvas.getBoundingClientRect(), at = (part, size) => Math.max(0, Math.min(size - 1, Math.floor(part * size)));
      setProbe({ x: at((event.clientX - box.left) / box.width, canvas.width), y: at((event.clientY - box.top) / box.height, canvas.height) });
    };
    canvas.onkeydown = (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step && event.key !== " ") return;
      event.preventDefault(); event.stopPropagation();
      if (!step) { onSpace(); return; }
      const from = probe ?? { x: canvas.width >> 1, y: canvas.height >> 1 }, inside = (value, size) => Math.max(0, Math.min(size - 1, value));
      setProbe({ x: inside(from.x + step[0], canvas.width), y: inside(from.y + step[1], canvas.height) });
    };
  }

  const take = (message) => { Object.assign(values, message.values, { scale: -1 }); change(); };
  const answers = {
    params: show,
    probe: (message) => { if (probe) why.show(message, values, last); },
    preset: take, estimate: take,
  };
  const questions = { params: ask, probe: askWhy, preset: askPreset, estimate: askEstimate };
  model.on("msg:custom", (message, buffers) => {
    const kind = message.type === "refused" ? message.of : message.type, question = questions[kind];
    if (!question?.answered(message)) return;
    if (kind === "params") clearTimeout(waiting);
    if (message.type !== "refused") answers[kind](message, buffers);
    else showPeak();
    question.again();
  });
  model.on("change:revision", change);
  showEmpty(); compare();
  change();
  return () => document.removeEventListener("lesiondash-ab", onSpace);
}

export default { render };
