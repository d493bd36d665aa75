// The slice viewer. HU arrive once per slice as int16; window, zoom, pan and marks are drawn here, with no word to the kernel.
function render({ model, el }) {
  el.classList.add("ld-view");
  const c = buildControls();
  const pane = makePane("CT slice. Arrow keys change the slice, Enter searches the box, question mark lists all keys.");
  const { canvas, stage, context } = pane;
  const empty = element("div", { className: "ld-empty", textContent: "Drop a CT scan on the left, or open a demonstration case." });
  stage.append(empty);
  const back = element("button", { className: "ld-btn", textContent: "Back to the query" });
  const bannerText = element("span"), banner = element("div", { className: "ld-banner", hidden: true }, bannerText, back);
  const chosen = element("div", { className: "ld-row", hidden: true }, c.measure, c.label, c.note);
  const view = makeView(canvas);
  const s = { tool: "box", index: 0, direction: 1, box: null, boxSlice: -1, asked: 0, window: model.get("window"), invert: false, drag: null, preview: null, cursor: null, overlay: false, fitted: "" };
  const scan = () => (model.get("scan").count ? model.get("scan") : null);
  const slices = makeSlices(model, (uid, index) => {
    if (index < 0) { pane.forget(); beside.pane.forget(); }
    if (index < 0 || (index === s.index && uid === scan()?.uid) || beside.shows(uid, index)) draw();
  });
  const overlays = makeOverlays(model, draw);
  const marks = makeMarks(model, () => { showChosen(); draw(); });
  const beside = makeBeside({ model, s, slices, overlays: makeOverlays(model, draw), goTo, setWindow, redraw: draw,
    main: { scan, view, pane, opacity: () => Number(c.opacity.value) }, keys: (event) => canvas.onkeydown(event) });
  el.append(element("div", { className: "ld-tools" }, ...Object.values(c.tools), c.place, c.next, c.remove, c.undo, c.redo),
    element("div", { className: "ld-tools" }, ...c.presets, c.invert, c.zoomOut, c.zoomIn, c.reset, c.overlay, c.opacity),
    banner, beside.bar, element("div", { className: "ld-stages" }, stage, beside.pane.stage), chosen,
    element("div", { className: "ld-row" }, "Slice", c.slider, c.play, c.rate, "/ s"), beside.row,
    element("div", { className: "ld-row ld-edges" }, "Box", ...c.edges, "px", c.search));

  let queued = false;
  function draw() {
    if (!queued) { queued = true; requestAnimationFrame(() => { queued = false; paint(); }); }
  }

  function paint() {
    const now = scan();
    empty.hidden = Boolean(now);
    pane.clear(Boolean(now));
    if (!now) return;
    const hu = slices.get(now.uid, s.index), frame = view.frame(now);
    slices.want(now.uid, s.index, now.count, s.direction);
    if (hu) paintSlice(now, hu, frame);
    paintMarks(now, hu, frame);
    pane.label(now, s.index, hu, frame, s.window, s.cursor);
    el.dataset.slice = s.index;
    el.dataset.drawn = hu ? `${now.uid} ${s.index}` : "";
    beside.paint();
  }
  function paintSlice(now, hu, frame) {
    if (s.fitted !== now.uid) {  // values without HU are shown as they spread; the window of HU comes back with HU
      if (now.unit !== "HU") { s.huWindow ??= s.window; setWindow(...spreadOf(hu)); } else if (s.huWindow) { setWindow(...s.huWindow); s.huWindow = null; }
      s.fitted = now.uid;
    }
    pane.paintSlice(now, s.index, hu, frame, s.window, s.invert);
    const response = s.overlay && overlays(now.uid, s.index);
    el.dataset.overlay = response ? "yes" : "";
    if (response) pane.paintResponse(now, response, frame, Number(c.opacity.value));
  }
  function paintMarks(now, hu, frame) {
    const at = (point) => view.toCanvas(frame, point), scale = devicePixelRatio;
    const text = (mark) => [mark.label, measureText(mark, now.spacing_mm, hu, now.width, now.height, now.unit)].filter(Boolean).join(": ") || (mark.kind === "text" ? "…" : "");
    for (const mark of marks.on(s.index)) {
      if (s.preview?.id !== mark.id) drawMark(context, mark, at, mark.id === marks.selected, text(mark), scale);
    }
    if (s.preview) drawMark(context, s.preview, at, true, text({ label: "", ...s.preview }), scale);
    if (s.box && s.boxSlice === s.index) pane.frameBox(s.box, frame);
  }
  function goTo(index, tell = true, followed = true) {
    const now = scan();
    if (!now) return;
    const next = Math.max(0, Math.min(now.count - 1, index));
    if (next !== s.index) s.direction = next > s.index ? 1 : -1;
    s.index = next;
    c.slider.value = s.index;
    c.slider.setAttribute("aria-valuetext", placeText(now, s.index).replace(" / ", " of "));
    if (tell) tellSlice();
    if (followed) beside.follow();
    draw();
  }
  let sliceTimer = 0;
  function tellSlice() {
    clearTimeout(sliceTimer);
    sliceTimer = setTimeout(() => model.send({ type: "slice_shown", index: s.index }), 150);
  }
  let windowTimer = 0;
  // A window of values that are no HU is this picture's alone.
  const tellWindow = () => { if (scan()?.unit === "HU") model.send({ type: "window", center: s.window[0], width: s.window[1] }); };
  function setWindow(center, width) {
    s.window = [center, Math.max(scan()?.unit === "values" ? 1e-6 : 1, width)];
    clearTimeout(windowTimer);
    if (!s.drag) windowTimer = setTimeout(tellWindow, 60);  // a drag tells where it ends
    draw();
  }
  function preset(i) {
    const [, center, width] = PRESETS[i], now = scan(), hu = now && slices.get(now.uid, s.index);
    if (center === null) { if (hu) setWindow(...spreadOf(hu)); } else if (now?.unit !== "values") setWindow(center, width);
  }
  function showEdges() {
    c.edges.forEach((input, i) => { input.value = s.box ? Math.round(s.box[i] * 10) / 10 : ""; });
  }
  function setBox(box) { s.box = box; s.boxSlice = s.index; showEdges(); draw(); }
  // Ask for the box that is drawn or typed; one that a hand drew is a mark too.
  function search(drawn = false) {
    const values = c.edges.map((input) => (input.value === "" ? null : Number(input.value)));
    if (drawn && s.box && s.box[2] - s.box[0] >= 2 && s.box[3] - s.box[1] >= 2) addMark({ kind: "box", points: [s.box.slice(0, 2), s.box.slice(2)] });
    s.asked += 1;
    model.send({ type: "box", box: values, index: s.index, number: s.asked });
  }
  function addMark(mark) {
    marks.add({ ...mark, slice: s.index });
    if (mark.kind === "text") c.label.focus();
  }
  // A box that is moved or sized is searched for where it is now.
  function changeMark(mark, points) {
    marks.change(mark.id, { points });
    if (mark.kind === "box") { setBox(bounds(points)); search(); }
  }
  // Undone, done again or deleted: the box that is searched for goes with its mark.
  function alter(how) {
    const before = marks.items.find((item) => item.kind === "box" && item.slice === s.boxSlice && sameBox(bounds(item.points), s.box));
    how();
    const after = before && marks.items.find((item) => item.id === before.id);
    if (!before || (after && sameBox(bounds(after.points), s.box))) return;
    if (after) { goTo(after.slice); setBox(bounds(after.points)); search(); return; }
    s.box = null; s.boxSlice = -1;
    showEdges(); draw();
    model.send({ type: "box_gone" });
  }
  const undo = () => alter(marks.undo), redo = () => alter(marks.redo), remove = () => alter(() => marks.remove(marks.selected));
  function setTool(tool) {
    s.tool = tool;
    for (const [name, node] of Object.entries(c.tools)) node.setAttribute("aria-pressed", String(name === tool));
    canvas.style.cursor = { pan: "grab", window: "ns-resize", select: "default" }[tool] ?? "crosshair";
  }
  function zoom(factor) { view.zoomAt(factor, canvas.width / 2, canvas.height / 2); draw(); }

  function selectNext(step) {
    if (!marks.items.length) return;
    const ordered = [...marks.items].sort((a, b) => a.slice - b.slice), place = ordered.findIndex((item) => item.id === marks.selected);
    const next = ordered[(place + step + ordered.length) % ordered.length] ?? ordered[0];
    marks.select(next.id);
    goTo(next.slice);
  }
  function showChosen() {
    const mark = marks.chosen(), now = scan();
    if (mark?.kind === "box" && s.chosenBox !== mark.id && mark.slice === s.index) setBox(bounds(mark.points));
    s.chosenBox = mark?.id;
    chosen.hidden = !mark;
    c.undo.disabled = !marks.canUndo(); c.redo.disabled = !marks.canRedo();
    c.remove.disabled = !mark; c.next.disabled = !marks.items.length;
    el.dataset.marks = marks.items.length;
    if (!mark || !now) return;
    const hu = mark.slice === s.index ? slices.get(now.uid, s.index) : null;
    c.measure.textContent = [mark.kind === "recist" ? "RECIST" : mark.kind, measureText(mark, now.spacing_mm, hu, now.width, now.height, now.unit)].filter(Boolean).join(" ");
    if (document.activeElement !== c.label) c.label.value = mark.label;
    if (document.activeElement !== c.note) c.note.value = mark.note;
  }
  // Move by keys: the selected mark, else the box that is searched for.
  function nudge(dx, dy, resize) {
    const now = scan(), mark = marks.chosen();
    if (!now) return;
    if (mark && mark.slice === s.index) {
      const last = mark.points.length - 1;
      const size = [now.width, now.height], handle = mark.kind === "recist" ? 1 : last, [x, y] = mark.points[handle];
      const points = resize && last ? markWithin({ kind: mark.kind, points: movedPoint(mark, handle, [x + dx, y + dy], now.spacing_mm) }, size, now.spacing_mm) : shifted(mark.points, [dx, dy], size);
      marks.change(mark.id, { points });
      if (mark.kind === "box") setBox(bounds(points));
      return;
    }
    const [x0, y0, x1, y1] = s.box && s.boxSlice === s.index ? s.box : [now.width / 2 - 16, now.height / 2 - 16, now.width / 2 + 16, now.height / 2 + 16];
    setBox(resize ? [x0, y0, Math.max(x0 + 2, x1 + dx), Math.max(y0 + 2, y1 + dy)] : [x0 + dx, y0 + dy, x1 + dx, y1 + dy]);
  }
  // With no pointer: a mark of the tool in the middle of what is seen, to be moved by keys.
  function place() {
    const now = scan(), n = POINTS[s.tool];
    if (!now || !n) return;
    const [x, y] = view.toImage(now, canvas.width / 2, canvas.height / 2), a = [x - 16, y - 16], b = [x + 16, y + 16];
    addMark({ kind: s.tool, points: markWithin({ kind: s.tool, points: s.tool === "recist" ? drawnRecist(a, b, now.spacing_mm) : n === 1 ? [[x, y]] : [a, b] }, [now.width, now.height], now.spacing_mm) });
  }

  let cine = 0;
  function play() {
    if (cine) { clearInterval(cine); cine = 0; } else if (scan()) {
      cine = setInterval(() => { const now = scan(); if (now && slices.get(now.uid, s.index)) goTo((s.index + 1) % now.count); }, 1000 / Math.max(1, Math.min(60, Number(c.rate.value) || 12)));
    }
    c.play.setAttribute("aria-pressed", String(Boolean(cine)));
  }
  const toggle = (name, node) => () => { s[name] = !s[name]; node.setAttribute("aria-pressed", String(s[name])); draw(); };
  const toggleInvert = toggle("invert", c.invert), toggleOverlay = toggle("overlay", c.overlay);
  const reset = () => { if (marks.selected) marks.select(""); view.reset(); beside.reset(); draw(); };
  makeGestures({ canvas, view, marks, s, scan, draw, setWindow, setBox, search, addMark, changeMark, tellWindow, goTo });

  canvas.onkeydown = (event) => {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key], key = event.key.toLowerCase();
    const tool = TOOLS.find(([, letter]) => letter.toLowerCase() === key), control = event.ctrlKey || event.metaKey;
    if (control && key !== "z" && key !== "y") return;
    if (arrow && event.shiftKey) nudge(arrow[0] * 2, arrow[1] * 2, event.altKey);
    else if (arrow) goTo(s.index + arrow[0] + arrow[1]);
    else if (key === "u" || (control && key === "z")) { if (event.shiftKey) redo(); else undo(); }
    else if (control) redo();
    else if (key === "pageup" || key === "pagedown") goTo(s.index + (key === "pageup" ? -5 : 5));
    else if (key === "enter") search();
    else if (key === " ") document.dispatchEvent(new CustomEvent("lesiondash-ab"));
    else if (key === "k") place();
    else if (key === "n") selectNext(event.shiftKey ? -1 : 1);
    else if (key === "delete" || key === "backspace") remove();
    else if (key === "escape") reset();
    else if (key === "i") toggleInvert();
    else if (key === "f") toggleOverlay();
    else if (key === "c") play();
    else if (key === "y") beside.toggleLinked();
    else if (key === "g") beside.showBoxes();
    else if (key === "x") beside.close();
    else if (key === "+" || key === "=") zoom(1.25);
    else if (key === "-") zoom(0.8);
    else if (tool) setTool(tool[0]);
    else if (key >= "1" && key <= "6" && key.length === 1) preset(Number(key) - 1);
    else return;
    event.preventDefault();
  };

  // A button that was clicked keeps the focus: the letters go on working from there.
  el.addEventListener("keydown", (event) => {
    if (event.target.tagName === "BUTTON" && event.key !== "Enter" && event.key !== " " && event.key !== "Tab") canvas.onkeydown(event);
  });

  for (const [name, node] of Object.entries(c.tools)) node.onclick = () => setTool(name);
  c.presets.forEach((node, i) => { node.onclick = () => preset(i); });
  Object.assign(c.invert, { onclick: toggleInvert }); Object.assign(c.overlay, { onclick: toggleOverlay });
  c.opacity.oninput = draw;
  c.undo.onclick = undo; c.redo.onclick = redo;
  c.place.onclick = place; c.next.onclick = () => selectNext(1); c.remove.onclick = remove;
  c.label.onchange = () => marks.change(marks.selected, { label: c.label.value.trim() });
  c.note.onchange = () => marks.change(marks.selected, { note: c.note.value.trim() });
  c.play.onclick = play;
  c.rate.onchange = () => { if (cine) { play(); play(); } };
  c.zoomIn.onclick = () => zoom(1.25);
  c.zoomOut.onclick = () => zoom(0.8);
  c.reset.onclick = reset;
  c.slider.oninput = () => goTo(Number(c.slider.value));
  c.search.onclick = () => search();
  for (const input of c.edges) input.onkeydown = (event) => { if (event.key === "Enter") search(); };
  back.onclick = () => model.send({ type: "back" });

  const onBox = () => {
    const box = model.get("box");
    if (box[5] < s.asked) return;  // the answer to an older question than the last
    s.box = box.length ? box.slice(0, 4) : null;
    s.boxSlice = box.length ? box[4] : -1;
    showEdges(); draw();
  };
  const onScan = () => {
    if (cine) play();
    view.reset();
    const now = scan();
    c.slider.max = now ? now.count - 1 : 0;
    c.presets.forEach((node, i) => { node.disabled = now?.unit === "values" && PRESETS[i][1] !== null; });  // they are of HU
    if (now?.frame_rate_hz) c.rate.value = Math.round(now.frame_rate_hz);
    onBox();
    goTo(model.get("slice_index"), false);
  };
  const onBanner = () => { bannerText.textContent = `Result: ${model.get("banner")}`; banner.hidden = !model.get("banner"); };
  model.on("change:scan", onScan);
  model.on("change:slice_index", () => goTo(model.get("slice_index"), false));
  model.on("change:box", onBox);
  model.on("change:annotations", () => marks.take());
  model.on("msg:custom", (message) => { if (message.type === "window") setWindow(message.center, message.width); });
  model.on("change:banner", onBanner);
  const sizes = new ResizeObserver(() => {
    for (const each of [pane, beside.pane]) each.fit();
    draw();
  });
  for (const each of [pane, beside.pane]) sizes.observe(each.stage);
  setTool("box"); onScan(); onBanner(); marks.take(); showChosen(); beside.start();
  return () => { sizes.disconnect(); clearInterval(cine); };
}

export default { render };
