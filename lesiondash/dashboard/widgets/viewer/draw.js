// Drawing on the canvas: slices through their window, the filter's response over them, marks on top.
const MARK = "#f0b429", OTHER = "#6fd3ff", PLATE = "rgb(0 0 0 / 62%)";
const HANDLE_PX = 4.5;

function windowed(hu, image, [center, width], invert) {
  const low = center - width / 2, gain = 255 / width, out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < hu.length; i += 1) {
    let grey = (hu[i] - low) * gain;
    grey = grey < 0 ? 0 : grey > 255 ? 255 : grey | 0;
    if (invert) grey = 255 - grey;
    out[i] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
}

// An orange whose opacity is the response squared, so that what answers weakly does not veil the slice.
function tinted(response, image) {
  const out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < response.length; i += 1) out[i] = (((response[i] * response[i]) / 255) << 24) | 0x1e8cff;
}

function makePicture() {
  const canvas = document.createElement("canvas");
  let image = null;
  return {
    canvas,
    fill(width, height, paint) {
      if (canvas.width !== width || canvas.height !== height || !image) {
        canvas.width = width; canvas.height = height;
        image = canvas.getContext("2d").createImageData(width, height);
      }
      paint(image);
      canvas.getContext("2d").putImageData(image, 0, 0);
    },
  };
}

// Where image pixels lie on the canvas: square in mm, fitted, then zoomed and panned.
function makeView(canvas) {
  const view = { zoom: 1, panX: 0, panY: 0 };
  view.reset = () => { view.zoom = 1; view.panX = 0; view.panY = 0; };
  const ratioOf = ({ spacing_mm: [, dy, dx] }) => dy / dx;
  const fitOf = (scan) => Math.min(canvas.width / scan.width, canvas.height / (scan.height * ratioOf(scan)));
  view.frame = (scan) => {
    const sx = fitOf(scan) * view.zoom, sy = sx * ratioOf(scan);
    return { sx, sy, x: (canvas.width - scan.width * sx) / 2 + view.panX, y: (canvas.height - scan.height * sy) / 2 + view.panY };
  };
  view.toImage = (scan, x, y) => {
    const f = view.frame(scan);
    return [(x - f.x) / f.sx, (y - f.y) / f.sy];
  };
  // Take over how a series lies on the canvas.
  view.take = (scan, f) => {
    view.zoom = f.sx / fitOf(scan);
    view.panX = f.x - (canvas.width - scan.width * f.sx) / 2;
    view.panY = f.y - (canvas.height - scan.height * f.sy) / 2;
  };
  // A place, in mm from the image's middle, in the middle of the canvas, so many mm across.
  view.lookAt = (scan, [x, y], across_mm) => {
    const [, , dx] = scan.spacing_mm, perMm = Math.min(canvas.width, canvas.height) / across_mm;
    view.zoom = Math.max(0.5, Math.min(20, perMm * dx / fitOf(scan)));
    const shown = fitOf(scan) * view.zoom / dx;
    view.panX = -x * shown; view.panY = -y * shown;
  };
  view.toCanvas = (f, [x, y]) => [f.x + x * f.sx, f.y + y * f.sy];
  // Zoom about a place of the canvas, which stays where it is.
  view.zoomAt = (factor, x, y) => {
    const zoom = Math.max(0.5, Math.min(20, view.zoom * factor)), by = zoom / view.zoom, cx = canvas.width / 2, cy = canvas.height / 2;
    view.panX = x - cx - (x - cx - view.panX) * by;
    view.panY = y - cy - (y - cy - view.panY) * by;
    view.zoom = zoom;
  };
  return view;
}

function drawMark(context, mark, at, selected, text, scale) {
  const points = mark.points.map(at), [a, b, c, d] = points;
  context.lineWidth = (selected ? 2 : 1.5) * scale;
  context.strokeStyle = context.fillStyle = selected ? MARK : OTHER;
  context.beginPath();
  const [x0, y0, x1, y1] = bounds(points);
  if (mark.kind === "box") context.rect(x0, y0, x1 - x0, y1 - y0);
  else if (mark.kind === "ellipse") context.ellipse((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2, 0, 0, 2 * Math.PI);
  else if (b) { context.moveTo(...a); context.lineTo(...b); }
  if (d) { context.moveTo(...c); context.lineTo(...d); }
  if (mark.kind === "arrow") {
    const angle = Math.atan2(b[1] - a[1], b[0] - a[0]), side = 11 * scale;
    for (const turn of [-0.45, 0.45]) { context.moveTo(...b); context.lineTo(b[0] - side * Math.cos(angle + turn), b[1] - side * Math.sin(angle + turn)); }
  }
  context.stroke();
  if (selected || mark.kind === "text") for (const [x, y] of points) context.fillRect(x - HANDLE_PX * scale, y - HANDLE_PX * scale, 2 * HANDLE_PX * scale, 2 * HANDLE_PX * scale);
  if (!text) return;
  context.font = `${12 * scale}px system-ui, sans-serif`;
  const width = context.measureText(text).width, edge = 8 * scale;
  const x = Math.max(edge, Math.min(x1 + 6 * scale, context.canvas.width - width - edge));
  const y = mark.kind === "text" ? y0 + 4 * scale : Math.min(y1 + 14 * scale, context.canvas.height - edge);
  const colour = context.fillStyle;
  context.fillStyle = PLATE;  // to be read over bone and over the filter's response
  context.fillRect(x - 4 * scale, y - 12 * scale, width + 8 * scale, 16 * scale);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}
