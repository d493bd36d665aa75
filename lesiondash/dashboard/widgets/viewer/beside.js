// A second series beside the first, to compare: same window, same scale in mm, scrolled together by mm.
function besideControls() {
  const button = (text, title) => element("button", { className: "ld-btn", textContent: text, title });
  const c = {
    title: element("span", { className: "ld-beside-title" }),
    link: button("Y Linked", "Scroll, zoom and pan both together, in mm (Y)"), both: button("G Lesions", "Both boxes, enlarged to one scale (G)"),
    wide: button("Wide", "Give both slices the width of the page"), open: button("Open", "Show it in the first one's place"),
    close: button("X Close", "One slice again (X)"), slider: element("input", { type: "range", min: 0, max: 0, value: 0 }),
  };
  c.wide.classList.add("ld-widen");
  c.slider.setAttribute("aria-label", "slice of the second series");
  c.bar = element("div", { className: "ld-beside-bar" }, c.title, c.link, c.both, c.wide, c.open, c.close);
  c.row = element("div", { className: "ld-row" }, "Second", c.slider);
  return c;
}

// On the second slice no tool draws: left or middle drag pans (or windows, with that tool), right drag and two fingers zoom.
function besideGestures({ pane, b, s, scan, view, frame, window_, dragWindow, scrollTo, redraw }) {
  const at = (event) => {
    const place = pane.canvas.getBoundingClientRect(), k = pane.canvas.width / place.width;
    return [(event.clientX - place.left) * k, (event.clientY - place.top) * k];
  };
  const pinch = makePinch(view, redraw);
  pane.canvas.oncontextmenu = (event) => event.preventDefault();
  pane.canvas.onpointerdown = (event) => {
    if (!scan()) return;
    pane.canvas.focus();
    try { pane.canvas.setPointerCapture(event.pointerId); } catch { /* a pointer made by a test */ }
    const [x, y] = at(event), { panX, panY, zoom } = view();
    if (pinch.down(event, [x, y])) { b.drag = null; return; }
    event.preventDefault();
    const kind = event.button === 2 ? "zoom" : event.button === 0 && s.tool === "window" ? "window" : "pan";
    b.drag = { kind, x, y, panX, panY, zoom, window: [...window_()] };
  };
  pane.canvas.onpointermove = (event) => {
    const now = scan(), [x, y] = at(event), d = b.drag;
    if (!now || pinch.move(event, [x, y])) return;
    const place = frame(now);
    b.cursor = [(x - place.x) / place.sx, (y - place.y) / place.sy];
    if (d?.kind === "pan") Object.assign(view(), { panX: d.panX + x - d.x, panY: d.panY + y - d.y });
    else if (d?.kind === "zoom") { Object.assign(view(), { zoom: d.zoom, panX: d.panX, panY: d.panY }); view().zoomAt(Math.exp((d.y - y) / 200), d.x, d.y); }
    else if (d?.kind === "window") dragWindow(draggedWindow(d.window, x - d.x, y - d.y, now.unit));
    redraw();
  };
  pane.canvas.onpointerup = pane.canvas.onpointercancel = (event) => { pinch.up(event); b.drag = null; };
  pane.canvas.onpointerleave = () => { if (!b.drag) b.cursor = null; redraw(); };
  pane.canvas.onwheel = (event) => {
    event.preventDefault();
    if (event.ctrlKey) { view().zoomAt(Math.exp(-event.deltaY / 200), ...at(event)); redraw(); } else scrollTo(b.index + Math.sign(event.deltaY));
  };
}

function makeBeside({ model, main, s, slices, overlays, goTo, setWindow, redraw, keys }) {
  const pane = makePane("Second slice, to compare. Arrow keys change it, and the first with it while they are linked.");
  const c = besideControls();
  const b = { index: 0, direction: 1, linked: true, apart_mm: 0, aside_mm: [0, 0], window: null, cursor: null, drag: null };
  const own = makeView(pane.canvas);
  const scan = () => (model.get("beside").count ? model.get("beside") : null);
  const view = () => (b.linked ? main.view : own);
  const sharesWindow = () => scan()?.unit === "HU" && main.scan()?.unit === "HU";
  const window_ = () => (sharesWindow() ? s.window : b.window ?? [0, 1]);
  const dragWindow = (moved) => { if (sharesWindow()) setWindow(...moved); else b.window = moved; };

  function frame(now) {
    const first = main.scan();
    return b.linked && first ? frameInMm(main.view.frame(first), first, main.pane.canvas, now, pane.canvas, b.aside_mm) : own.frame(now);
  }
  function paint() {
    const now = scan();
    pane.clear(Boolean(now));
    if (!now) return;
    const hu = slices.get(now.uid, b.index), place = frame(now);
    slices.want(now.uid, b.index, now.count, b.direction);
    if (hu) {
      if (!sharesWindow()) b.window ??= spreadOf(hu);
      pane.paintSlice(now, b.index, hu, place, window_(), s.invert);
      const response = s.overlay && overlays(now.uid, b.index);
      if (response) pane.paintResponse(now, response, place, main.opacity());
    }
    if (now.box.length && now.box[4] === b.index) pane.frameBox(now.box, place);
    pane.label(now, b.index, hu, place, window_(), b.cursor);
    pane.stage.dataset.slice = b.index;
    pane.stage.dataset.drawn = hu ? `${now.uid} ${b.index}` : "";
  }

  function show(index) {
    const now = scan(), next = Math.max(0, Math.min(now.count - 1, index));
    if (next !== b.index) b.direction = next > b.index ? 1 : -1;
    b.index = next;
    c.slider.value = next;
    c.slider.setAttribute("aria-valuetext", `slice ${next + 1} of ${now.count}`);
    redraw();
  }
  // The other one follows a scroll to its nearest slice.
  function scrollTo(index) {
    const now = scan(), first = main.scan();
    if (!now) return;
    show(index);
    if (b.linked && first) goTo(nearestSlice(first, zOf(now, b.index) - b.apart_mm), true, false);
  }
  function follow() {
    const now = scan(), first = main.scan();
    if (now && first && b.linked) show(nearestSlice(now, zOf(first, s.index) + b.apart_mm));
  }
  function setLinked(linked) {
    const now = scan(), first = main.scan();
    if (!now || !first) return;
    if (!linked) own.take(now, frame(now));
    b.linked = linked;
    if (linked) b.apart_mm = zOf(now, b.index) - zOf(first, s.index);
    c.link.setAttribute("aria-pressed", String(linked));
    redraw();
  }
  const middleOf = ([x0, y0, x1, y1], { width, height, spacing_mm: [, dy, dx] }) => [((x0 + x1 - width) / 2) * dx, ((y0 + y1 - height) / 2) * dy];
  // Both boxes in the middle, the larger one a third of the picture.
  function showBoxes() {
    const now = scan(), first = main.scan();
    if (!now?.box.length || !first || !s.box) return;
    goTo(s.boxSlice); show(now.box[4]); setLinked(true);
    const here = middleOf(s.box, first), there = middleOf(now.box, now);
    b.aside_mm = [there[0] - here[0], there[1] - here[1]];
    main.view.lookAt(first, here, 3 * Math.max(longSideMm(s.box, first.spacing_mm), longSideMm(now.box, now.spacing_mm)));
    redraw();
  }
  function setWide(on) {
    c.wide.setAttribute("aria-pressed", String(on));
    c.bar.closest(".ld-view")?.classList.toggle("ld-wide", on);
  }

  function onBeside() {
    const now = scan(), first = main.scan();
    for (const node of [c.bar, c.row, pane.stage]) node.hidden = !now;
    c.bar.closest(".ld-view")?.classList.toggle("ld-compare", Boolean(now));
    if (!now || !first) { setWide(false); redraw(); return; }
    c.title.textContent = `Beside: ${now.title}`;
    c.slider.max = now.count - 1;
    c.both.disabled = !now.box.length || !s.box;
    Object.assign(b, { window: null, linked: true, aside_mm: now.shift_mm ?? [0, 0] });
    own.reset();
    if (now.box.length && s.box) goTo(s.boxSlice, true, false);
    b.apart_mm = now.shift_mm ? 0 : zOf(now, now.slice_index) - zOf(first, s.index);
    c.link.setAttribute("aria-pressed", "true");
    if (now.shift_mm) follow(); else show(now.slice_index);
  }

  besideGestures({ pane, b, s, scan, view, frame, window_, dragWindow, scrollTo, redraw });
  pane.canvas.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, PageUp: -5, PageDown: 5 }[event.key];
    if (!step || event.shiftKey) { keys(event); return; }
    event.preventDefault();
    scrollTo(b.index + step);
  };
  c.slider.oninput = () => scrollTo(Number(c.slider.value));
  c.link.onclick = () => setLinked(!b.linked);
  c.both.onclick = showBoxes;
  c.wide.onclick = () => setWide(c.wide.getAttribute("aria-pressed") !== "true");
  c.open.onclick = () => model.send({ type: "beside_open", index: b.index });
  c.close.onclick = () => model.send({ type: "beside_close" });
  model.on("change:beside", onBeside);

  return { pane, bar: c.bar, row: c.row, paint, follow, start: onBeside, shows: (uid, index) => scan()?.uid === uid && b.index === index,
    toggleLinked: () => setLinked(!b.linked), showBoxes, close: c.close.onclick, reset: () => { b.aside_mm = scan()?.shift_mm ?? [0, 0]; own.reset(); } };
}
