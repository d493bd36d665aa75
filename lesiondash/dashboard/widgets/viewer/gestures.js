// What pointers do on the slice: the left one uses the tool, the right one zooms, the middle one pans, two fingers both.
const GRAB_PX = { mouse: 9, pen: 12, touch: 20 };

// Two fingers: apart to zoom, together to pan. `view` says which view they move.
function makePinch(view, draw) {
  const fingers = new Map();
  let last = null;
  const now = () => {
    const [a, b] = [...fingers.values()];
    return { apart: Math.hypot(a[0] - b[0], a[1] - b[1]) || 1, x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2 };
  };
  return {
    down(event, place) {
      if (event.pointerType !== "touch") return false;
      fingers.set(event.pointerId, place);
      if (fingers.size === 2) last = now();
      return fingers.size === 2;
    },
    move(event, place) {
      if (!fingers.has(event.pointerId)) return false;
      fingers.set(event.pointerId, place);
      if (!last || fingers.size !== 2) return false;
      const next = now();
      view().zoomAt(next.apart / last.apart, next.x, next.y);
      view().panX += next.x - last.x; view().panY += next.y - last.y;
      last = next;
      draw();
      return true;
    },
    up(event) {
      const pinched = Boolean(last);
      fingers.delete(event.pointerId);
      if (!fingers.size) last = null;
      return pinched;
    },
  };
}

function makeGestures({ canvas, view, marks, s, scan, draw, setWindow, setBox, search, addMark, changeMark, tellWindow, goTo }) {
  const pinch = makePinch(() => view, draw);
  const at = (event) => {
    const bounds_ = canvas.getBoundingClientRect();
    return [(event.clientX - bounds_.left) * canvas.width / bounds_.width, (event.clientY - bounds_.top) * canvas.height / bounds_.height];
  };
  const clipped = ([x, y], now) => [Math.max(0, Math.min(now.width, x)), Math.max(0, Math.min(now.height, y))];

  // The mark, and where there is one the handle, under a place of the canvas; the selected mark first.
  function under(place, pointer) {
    const frame = view.frame(scan()), reach = (GRAB_PX[pointer] ?? GRAB_PX.mouse) * devicePixelRatio;
    const here = marks.on(s.index).slice().reverse().sort((a, b) => Number(b.id === marks.selected) - Number(a.id === marks.selected));
    for (const mark of here) {
      const points = mark.points.map((point) => view.toCanvas(frame, point));
      const handle = points.findIndex(([x, y]) => Math.hypot(x - place[0], y - place[1]) < reach);
      if (handle >= 0) return { mark, handle };
      if (distanceTo(mark.kind, points, place) < reach) return { mark, handle: -1 };
    }
    return null;
  }

  canvas.oncontextmenu = (event) => event.preventDefault();
  canvas.onpointerdown = (event) => {
    const now = scan();
    if (!now) return;
    canvas.focus();
    try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer made by a test */ }
    const [x, y] = at(event);
    if (pinch.down(event, [x, y])) { s.drag = null; s.preview = null; return; }
    event.preventDefault();
    const tool = event.button === 2 ? "zoom" : event.button === 1 ? "pan" : s.tool;
    const start = view.toImage(now, x, y);
    s.drag = { tool, x, y, window: [...s.window], panX: view.panX, panY: view.panY, zoom: view.zoom, start };
    if (tool === "select") {
      const found = under([x, y], event.pointerType);
      marks.select(found?.mark.id ?? "", found?.handle ?? -1);
      s.drag.mark = found?.mark;
    }
  };
  canvas.onpointermove = (event) => {
    const now = scan();
    if (!now) return;
    const [x, y] = at(event), d = s.drag;
    if (pinch.move(event, [x, y])) return;
    s.cursor = view.toImage(now, x, y);
    if (d) drag(d, x, y, now);
    draw();
  };

  function drag(d, x, y, now) {
    const here = clipped(s.cursor, now), start = clipped(d.start, now);
    if (d.tool === "box") {
      setBox([Math.min(start[0], here[0]), Math.min(start[1], here[1]), Math.max(start[0], here[0]), Math.max(start[1], here[1])]);
    } else if (d.tool === "recist") s.preview = { kind: "recist", points: markWithin({ kind: "recist", points: drawnRecist(start, here, now.spacing_mm) }, [now.width, now.height], now.spacing_mm) };
    else if (POINTS[d.tool] === 2) s.preview = { kind: d.tool, points: [start, here] };
    else if (d.tool === "select" && d.mark) {
      const by = [s.cursor[0] - d.start[0], s.cursor[1] - d.start[1]];
      const size = [now.width, now.height];
      const points = marks.handle < 0 ? shifted(d.mark.points, by, size) : markWithin({ kind: d.mark.kind, points: movedPoint(d.mark, marks.handle, here, now.spacing_mm) }, size, now.spacing_mm);
      s.preview = { ...d.mark, points };
    } else if (d.tool === "window") {
      setWindow(...draggedWindow(d.window, x - d.x, y - d.y, now.unit));
    } else if (d.tool === "pan") {
      view.panX = d.panX + x - d.x; view.panY = d.panY + y - d.y;
    } else if (d.tool === "zoom") {
      view.zoom = d.zoom; view.panX = d.panX; view.panY = d.panY;
      view.zoomAt(Math.exp((d.y - y) / 200), d.x, d.y);
    }
  }

  function finish(event) {
    if (pinch.up(event)) return;
    const d = s.drag, now = scan(), preview = s.preview;
    s.drag = null; s.preview = null;
    if (!d || !now) return;
    const here = s.cursor ?? d.start, moved = Math.hypot(here[0] - d.start[0], here[1] - d.start[1]) > 1;
    if (d.tool === "text") addMark({ kind: "text", points: [clipped(d.start, now)] });
    else if (d.tool === "select") {
      if (d.mark && preview && moved) changeMark(d.mark, preview.points);
    } else if (d.tool === "window") tellWindow(); else if (!moved) { /* a click is no mark */ }
    else if (d.tool === "box") search(true);  // a drag, however thin, is a box that the kernel judges
    else if (preview) addMark({ kind: preview.kind, points: preview.points });
    draw();
  }
  canvas.onpointerup = finish;
  canvas.onpointercancel = (event) => { s.preview = null; s.drag = null; finish(event); draw(); };
  canvas.onpointerleave = () => { if (!s.drag) s.cursor = null; draw(); };
  canvas.onwheel = (event) => {
    event.preventDefault();
    if (event.ctrlKey) { view.zoomAt(Math.exp(-event.deltaY / 200), ...at(event)); draw(); } else goTo(s.index + Math.sign(event.deltaY));
  };
}
