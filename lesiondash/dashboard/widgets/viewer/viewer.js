// The slice viewer. HU arrive once per slice as int16; window, zoom and pan are drawn here, with no word to the kernel.
const PRESETS = [["lung", -600, 1500], ["soft tissue", 40, 400], ["liver", 60, 150], ["bone", 400, 1800], ["brain", 40, 80], ["fit", null, null]];
const MARK = "#f0b429";
const CACHE_SLICES = 400;

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function windowed(hu, image, [center, width], invert) {
  const low = center - width / 2, gain = 255 / width, out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < hu.length; i += 1) {
    let grey = (hu[i] - low) * gain;
    grey = grey < 0 ? 0 : grey > 255 ? 255 : grey | 0;
    if (invert) grey = 255 - grey;
    out[i] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
}

// Slices by "uid index"; asks for each once, and forgets the oldest.
function makeSlices(model, onArrive) {
  const cache = new Map(), asked = new Set();
  model.on("msg:custom", (message, buffers) => {
    if (message.type !== "slice") return;
    const { buffer, byteOffset, byteLength } = buffers[0];
    const bytes = buffer ? buffer.slice(byteOffset, byteOffset + byteLength) : buffers[0];
    const key = `${message.uid} ${message.index}`;
    asked.delete(key);
    cache.set(key, new Int16Array(bytes));
    if (cache.size > CACHE_SLICES) cache.delete(cache.keys().next().value);
    onArrive(message.uid, message.index);
  });
  return {
    get(uid, index) {
      const key = `${uid} ${index}`;
      if (!cache.has(key) && !asked.has(key)) {
        asked.add(key);
        model.send({ type: "slice", uid, index });
      }
      return cache.get(key);
    },
  };
}

// Where image pixels lie on the canvas: square in mm, fitted, then zoomed and panned.
function makeView(canvas) {
  const view = { zoom: 1, panX: 0, panY: 0 };
  view.reset = () => { view.zoom = 1; view.panX = 0; view.panY = 0; };
  view.frame = (scan) => {
    const [, dy, dx] = scan.spacing_mm, ratio = dy / dx;
    const fit = Math.min(canvas.width / scan.width, canvas.height / (scan.height * ratio)) * view.zoom;
    const sx = fit, sy = fit * ratio;
    return { sx, sy, x: (canvas.width - scan.width * sx) / 2 + view.panX, y: (canvas.height - scan.height * sy) / 2 + view.panY };
  };
  view.toImage = (scan, x, y) => {
    const f = view.frame(scan);
    return [(x - f.x) / f.sx, (y - f.y) / f.sy];
  };
  return view;
}

function buildControls() {
  const button = (text, title) => element("button", { className: "ld-btn", textContent: text, title });
  const parts = {
    tools: { box: button("R Box", "Draw a box (R)"), window: button("W Window", "Drag to window (W)"), pan: button("P Pan", "Drag to pan (P, or middle drag)") },
    presets: PRESETS.map(([name], i) => button(`${i + 1} ${name}`, `Window: ${name} (${i + 1})`)),
    invert: button("I Invert", "Invert (I)"),
    zoomIn: button("+", "Zoom in (+, or right drag)"), zoomOut: button("−", "Zoom out (−)"), reset: button("Esc Fit", "Whole slice again (Esc)"),
    search: button("⏎ Search", "Search the box (Enter)"),
    slider: element("input", { type: "range", min: 0, max: 0, value: 0 }),
    edges: ["left", "top", "right", "bottom"].map((name) => {
      const input = element("input", { type: "number", step: "any" });
      input.setAttribute("aria-label", `box ${name} edge, pixels`);
      return input;
    }),
  };
  parts.slider.setAttribute("aria-label", "slice");
  parts.zoomIn.setAttribute("aria-label", "zoom in");
  parts.zoomOut.setAttribute("aria-label", "zoom out");
  return parts;
}

function render({ model, el }) {
  el.classList.add("ld-view");
  const c = buildControls();
  const canvas = element("canvas", { tabIndex: 0 });
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "CT slice. Arrow keys change the slice, Enter searches the box, question mark lists all keys.");
  const corner = (place) => element("div", { className: `ld-corner ld-${place}` });
  const tl = corner("tl"), tr = corner("tr"), bl = corner("bl"), br = corner("br");
  const scaleText = element("span"), scaleBar = element("div", { className: "ld-scale" });
  br.append(scaleText, scaleBar);
  const empty = element("div", { className: "ld-empty", textContent: "Drop a CT scan on the left, or open a demonstration case." });
  const stage = element("div", { className: "ld-stage" }, canvas, tl, tr, bl, br, empty);
  const back = element("button", { className: "ld-btn", textContent: "Back to the query" });
  const bannerText = element("span"), banner = element("div", { className: "ld-banner", hidden: true }, bannerText, back);
  el.append(element("div", { className: "ld-tools" }, ...Object.values(c.tools), ...c.presets, c.invert, c.zoomOut, c.zoomIn, c.reset),
    banner, stage,
    element("div", { className: "ld-row" }, "Slice", c.slider),
    element("div", { className: "ld-row" }, "Box", ...c.edges, "px", c.search));

  const context = canvas.getContext("2d");
  const view = makeView(canvas);
  const pixels = document.createElement("canvas");
  const s = { tool: "box", index: 0, box: null, boxSlice: -1, window: model.get("window"), invert: false, drag: null, cursor: null };
  const scan = () => (model.get("scan").count ? model.get("scan") : null);
  const slices = makeSlices(model, (uid, index) => { if (scan()?.uid === uid && index === s.index) draw(); });

  let queued = false;
  function draw() {
    if (!queued) { queued = true; requestAnimationFrame(() => { queued = false; paint(); }); }
  }

  function paint() {
    const now = scan();
    empty.hidden = Boolean(now);
    for (const place of [tl, tr, bl, br]) place.hidden = !now;
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!now) return;
    const hu = slices.get(now.uid, s.index), frame = view.frame(now);
    if (hu) {
      if (pixels.width !== now.width || pixels.height !== now.height) { pixels.width = now.width; pixels.height = now.height; }
      const pixelContext = pixels.getContext("2d"), image = pixelContext.createImageData(now.width, now.height);
      windowed(hu, image, s.window, s.invert);
      pixelContext.putImageData(image, 0, 0);
      context.imageSmoothingEnabled = frame.sx < 4;
      context.drawImage(pixels, frame.x, frame.y, now.width * frame.sx, now.height * frame.sy);
      for (const near of [s.index + 1, s.index - 1]) if (near >= 0 && near < now.count) slices.get(now.uid, near);
    }
    if (s.box && s.boxSlice === s.index) {
      const [x0, y0, x1, y1] = s.box;
      context.lineWidth = 2 * devicePixelRatio;
      context.strokeStyle = MARK;
      context.strokeRect(frame.x + x0 * frame.sx, frame.y + y0 * frame.sy, (x1 - x0) * frame.sx, (y1 - y0) * frame.sy);
    }
    label(now, hu, frame);
    el.dataset.slice = s.index;
    el.dataset.drawn = hu ? `${now.uid} ${s.index}` : "";
  }

  function label(now, hu, frame) {
    const z = now.positions_mm[s.index];
    tl.textContent = `slice ${s.index + 1} / ${now.count}${z === undefined ? "" : ` · z ${z.toFixed(1)} mm`}`;
    tr.textContent = `W ${Math.round(s.window[1])} L ${Math.round(s.window[0])}`;
    bl.textContent = "";
    if (s.cursor && hu) {
      const [x, y] = s.cursor.map(Math.floor);
      if (x >= 0 && y >= 0 && x < now.width && y < now.height) bl.textContent = `${hu[y * now.width + x]} HU at (${x}, ${y})`;
    }
    const perMm = frame.sx / now.spacing_mm[2] / devicePixelRatio;
    const mm = [200, 100, 50, 20, 10, 5, 2, 1].find((length) => length * perMm < 150) ?? 1;
    scaleText.textContent = `${mm} mm`;
    scaleBar.style.width = `${mm * perMm}px`;
  }

  function goTo(index, tell = true) {
    const now = scan();
    if (!now) return;
    s.index = Math.max(0, Math.min(now.count - 1, index));
    c.slider.value = s.index;
    c.slider.setAttribute("aria-valuetext", `slice ${s.index + 1} of ${now.count}`);
    if (tell) tellSlice();
    draw();
  }
  let sliceTimer = 0;
  function tellSlice() {
    clearTimeout(sliceTimer);
    sliceTimer = setTimeout(() => model.send({ type: "slice_shown", index: s.index }), 150);
  }
  let windowTimer = 0;
  function setWindow(center, width) {
    s.window = [center, Math.max(1, width)];
    clearTimeout(windowTimer);
    windowTimer = setTimeout(() => model.send({ type: "window", center: s.window[0], width: s.window[1] }), 60);
    draw();
  }
  function preset(i) {
    let [, center, width] = PRESETS[i];
    const now = scan(), hu = now && slices.get(now.uid, s.index);
    if (center === null) {
      if (!hu) return;
      const sorted = hu.slice().sort(), low = sorted[Math.floor(0.02 * hu.length)], high = sorted[Math.floor(0.995 * hu.length)];
      [center, width] = [(low + high) / 2, high - low];
    }
    setWindow(center, width);
  }
  function showEdges() {
    c.edges.forEach((input, i) => { input.value = s.box ? Math.round(s.box[i] * 10) / 10 : ""; });
  }
  function setBox(box) { s.box = box; s.boxSlice = s.index; showEdges(); draw(); }
  function search() {
    const values = c.edges.map((input) => (input.value === "" ? null : Number(input.value)));
    model.send({ type: "box", box: values, index: s.index });
  }
  function setTool(tool) {
    s.tool = tool;
    for (const [name, node] of Object.entries(c.tools)) node.setAttribute("aria-pressed", String(name === tool));
    canvas.style.cursor = tool === "box" ? "crosshair" : tool === "pan" ? "grab" : "ns-resize";
  }
  function zoom(factor) { view.zoom = Math.max(0.5, Math.min(20, view.zoom * factor)); draw(); }
  function nudge(dx, dy, resize) {
    const now = scan();
    if (!now) return;
    const [x0, y0, x1, y1] = s.box && s.boxSlice === s.index ? s.box : [now.width / 2 - 16, now.height / 2 - 16, now.width / 2 + 16, now.height / 2 + 16];
    setBox(resize ? [x0, y0, Math.max(x0 + 2, x1 + dx), Math.max(y0 + 2, y1 + dy)] : [x0 + dx, y0 + dy, x1 + dx, y1 + dy]);
  }

  const at = (event) => {
    const bounds = canvas.getBoundingClientRect();
    return [(event.clientX - bounds.left) * canvas.width / bounds.width, (event.clientY - bounds.top) * canvas.height / bounds.height];
  };
  canvas.oncontextmenu = (event) => event.preventDefault();
  canvas.onpointerdown = (event) => {
    if (!scan()) return;
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    const [x, y] = at(event);
    const tool = event.button === 2 ? "zoom" : event.button === 1 ? "pan" : s.tool;
    event.preventDefault();
    s.drag = { tool, x, y, window: [...s.window], panX: view.panX, panY: view.panY, zoom: view.zoom, start: view.toImage(scan(), x, y) };
  };
  canvas.onpointermove = (event) => {
    const now = scan();
    if (!now) return;
    const [x, y] = at(event), d = s.drag;
    s.cursor = view.toImage(now, x, y);
    if (d?.tool === "box") {
      const clip = ([px, py]) => [Math.max(0, Math.min(now.width, px)), Math.max(0, Math.min(now.height, py))];
      const [ax, ay] = clip(d.start), [bx, by] = clip(s.cursor);
      setBox([Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)]);
    } else if (d?.tool === "window") {
      const step = Math.max(1, d.window[1] / 300) / devicePixelRatio;
      setWindow(d.window[0] + (y - d.y) * step, d.window[1] + (x - d.x) * step);
    } else if (d?.tool === "pan") {
      view.panX = d.panX + x - d.x; view.panY = d.panY + y - d.y;
    } else if (d?.tool === "zoom") {
      view.zoom = Math.max(0.5, Math.min(20, d.zoom * Math.exp((d.y - y) / 200)));
    }
    draw();
  };
  canvas.onpointerup = () => {
    const drag = s.drag;
    s.drag = null;
    if (drag?.tool === "box" && s.box && s.boxSlice === s.index && s.cursor) {
      const [x, y] = s.cursor;
      // A click is not a box; a drag, however thin, is one that the kernel judges.
      if (Math.hypot(x - drag.start[0], y - drag.start[1]) > 1) search();
    }
  };
  canvas.onpointerleave = () => { s.cursor = null; draw(); };
  canvas.onwheel = (event) => { event.preventDefault(); goTo(s.index + Math.sign(event.deltaY)); };
  canvas.onkeydown = (event) => {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const key = event.key.toLowerCase();
    if (arrow && event.shiftKey) nudge(arrow[0] * 2, arrow[1] * 2, event.altKey);
    else if (arrow) goTo(s.index + arrow[0] + arrow[1]);
    else if (key === "pageup" || key === "pagedown") goTo(s.index + (key === "pageup" ? -5 : 5));
    else if (key === "enter") search();
    else if (key === "escape") { view.reset(); draw(); }
    else if (key === "i") toggleInvert();
    else if (key === "+" || key === "=") zoom(1.25);
    else if (key === "-") zoom(0.8);
    else if (key === "r") setTool("box");
    else if (key === "w") setTool("window");
    else if (key === "p") setTool("pan");
    else if (key >= "1" && key <= "6" && key.length === 1) preset(Number(key) - 1);
    else return;
    event.preventDefault();
  };
  const toggleInvert = () => { s.invert = !s.invert; c.invert.setAttribute("aria-pressed", String(s.invert)); draw(); };

  for (const [name, node] of Object.entries(c.tools)) node.onclick = () => setTool(name);
  c.presets.forEach((node, i) => { node.onclick = () => preset(i); });
  c.invert.onclick = toggleInvert;
  c.zoomIn.onclick = () => zoom(1.25);
  c.zoomOut.onclick = () => zoom(0.8);
  c.reset.onclick = () => { view.reset(); draw(); };
  c.slider.oninput = () => goTo(Number(c.slider.value));
  c.search.onclick = search;
  for (const input of c.edges) input.onkeydown = (event) => { if (event.key === "Enter") search(); };
  back.onclick = () => model.send({ type: "back" });

  const onBox = () => {
    const box = model.get("box");
    s.box = box.length ? box.slice(0, 4) : null;
    s.boxSlice = box.length ? box[4] : -1;
    showEdges(); draw();
  };
  const onScan = () => {
    view.reset();
    const now = scan();
    c.slider.max = now ? now.count - 1 : 0;
    onBox();
    goTo(model.get("slice_index"), false);
  };
  const onBanner = () => { bannerText.textContent = `Result: ${model.get("banner")}`; banner.hidden = !model.get("banner"); };
  model.on("change:scan", onScan);
  model.on("change:slice_index", () => goTo(model.get("slice_index"), false));
  model.on("change:box", onBox);
  model.on("msg:custom", (message) => { if (message.type === "window") setWindow(message.center, message.width); });
  model.on("change:banner", onBanner);
  const sizes = new ResizeObserver(() => {
    canvas.width = Math.max(1, Math.round(stage.clientWidth * devicePixelRatio));
    canvas.height = Math.max(1, Math.round(stage.clientHeight * devicePixelRatio));
    draw();
  });
  sizes.observe(stage);
  setTool("box"); onScan(); onBanner();
  return () => sizes.disconnect();
}

export default { render };
