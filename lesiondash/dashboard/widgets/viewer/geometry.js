// Marks in pixels, measured in mm; no page, no canvas: what a test can run by itself.
const POINTS = { box: 2, length: 2, recist: 4, ellipse: 2, arrow: 2, text: 1 };

function lengthMm([ax, ay], [bx, by], [, dy, dx]) {
  return Math.hypot((bx - ax) * dx, (by - ay) * dy);
}

// A short axis as it stands to its long one: where along it (0 to 1), and how far to either side, in mm.
function shortAxis([a, b, c, d], [, dy, dx]) {
  const ux = (b[0] - a[0]) * dx, uy = (b[1] - a[1]) * dy, long = Math.hypot(ux, uy) || 1;
  const along = (p) => (((p[0] - a[0]) * dx * ux) + ((p[1] - a[1]) * dy * uy)) / long ** 2;
  const aside = (p) => (((p[1] - a[1]) * dy * ux) - ((p[0] - a[0]) * dx * uy)) / long;
  return { at: along(c), sides: [aside(c), aside(d)] };
}

// The four points of two axes that stand at right angles in mm, whatever the pixels' shape.
function recistPoints(a, b, { at, sides }, [, dy, dx]) {
  const ux = (b[0] - a[0]) * dx, uy = (b[1] - a[1]) * dy, long = Math.hypot(ux, uy) || 1;
  const share = Math.max(0, Math.min(1, at));
  const end = (aside) => [
    a[0] + (b[0] - a[0]) * share - (aside * uy) / long / dx,
    a[1] + (b[1] - a[1]) * share + (aside * ux) / long / dy,
  ];
  return [a, b, ...sides.map(end)];
}

function drawnRecist(a, b, spacing) {
  const half = lengthMm(a, b, spacing) / 4;
  return recistPoints(a, b, { at: 0.5, sides: [-half, half] }, spacing);
}

// Move one point of a mark; RECIST axes stay at right angles.
function movedPoint(mark, handle, to, spacing) {
  const points = mark.points.map((point) => [...point]);
  if (mark.kind !== "recist") {
    points[handle] = to;
    return points;
  }
  const axis = shortAxis(points, spacing);
  points[handle] = to;
  if (handle < 2) {
    if (lengthMm(points[0], points[1], spacing) < 1e-6) return mark.points;
    return recistPoints(points[0], points[1], axis, spacing);
  }
  const wished = shortAxis([points[0], points[1], to, to], spacing);
  const sides = [...axis.sides];
  sides[handle - 2] = wished.sides[0];
  return recistPoints(points[0], points[1], { at: wished.at, sides }, spacing);
}

// Points moved together, as far as the image lets all of them.
function shifted(points, by, [width, height]) {
  const [x0, y0, x1, y1] = bounds(points);
  const dx = Math.max(-x0, Math.min(width - x1, by[0])), dy = Math.max(-y0, Math.min(height - y1, by[1]));
  return points.map(([x, y]) => [x + dx, y + dy]);
}

// As much of the way from one place to another as the image has room for.
function reaching(from, to, size) {
  const shares = to.map((end, i) => (end < 0 ? from[i] / (from[i] - end) : end > size[i] ? (size[i] - from[i]) / (end - from[i]) : 1));
  const share = Math.min(...shares);
  return to.map((end, i) => from[i] + (end - from[i]) * share);
}

// A mark kept within the image; RECIST axes stay at right angles there too, the short one as long as there is room.
function markWithin({ kind, points }, size, spacing) {
  if (kind !== "recist") return within(points, size);
  const [a, b] = within(points.slice(0, 2), size), axis = shortAxis(points, spacing);
  const foot = recistPoints(a, b, { ...axis, sides: [0, 0] }, spacing)[2];
  return [a, b, ...recistPoints(a, b, axis, spacing).slice(2).map((end) => reaching(foot, end, size))];
}

function within(points, [width, height]) {
  return points.map(([x, y]) => [Math.max(0, Math.min(width, x)), Math.max(0, Math.min(height, y))]);
}

function bounds(points) {
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

// To the tenth of a pixel that the edges beside the slice are written with.
function sameBox(a, b) {
  return a?.length === b?.length && Boolean(a?.every((edge, i) => Math.abs(edge - b[i]) < 0.1));
}

// Mean, deviation, extremes and number of the pixels whose middles lie in an ellipse or a box.
function statistics(mark, values, width, height) {
  const [x0, y0, x1, y1] = bounds(mark.points), cx = (x0 + x1) / 2, cy = (y0 + y1) / 2, rx = (x1 - x0) / 2, ry = (y1 - y0) / 2;
  let count = 0, sum = 0, squares = 0, low = Infinity, high = -Infinity;
  for (let y = Math.max(0, Math.floor(y0)); y < Math.min(height, Math.ceil(y1)); y += 1) {
    for (let x = Math.max(0, Math.floor(x0)); x < Math.min(width, Math.ceil(x1)); x += 1) {
      const px = x + 0.5, py = y + 0.5;
      const inside = mark.kind === "ellipse" ? ((px - cx) / rx) ** 2 + ((py - cy) / ry) ** 2 <= 1 : px >= x0 && px <= x1 && py >= y0 && py <= y1;
      if (!inside) continue;
      const value = values[y * width + x];
      count += 1; sum += value; squares += value * value;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (!count) return null;
  const mean = sum / count;
  return { count, mean, deviation: Math.sqrt(Math.max(0, squares / count - mean * mean)), low, high };
}

function areaMm2(mark, [, dy, dx]) {
  const [x0, y0, x1, y1] = bounds(mark.points), sides = (x1 - x0) * dx * (y1 - y0) * dy;
  return mark.kind === "ellipse" ? (Math.PI / 4) * sides : sides;
}

// Whole HU; of what is small, as in a map of diffusion, three digits.
const said = (value) => (Math.abs(value) >= 100 || Number.isInteger(value) ? value.toFixed(0) : String(Number(value.toPrecision(3))));

// What stands beside a mark: its measure in mm, and for an ellipse the values within.
function measureText(mark, spacing, values, width, height, unit) {
  const [a, b, c, d] = mark.points, mm = (value) => `${value.toFixed(1)} mm`;
  if (mark.kind === "length") return mm(lengthMm(a, b, spacing));
  if (mark.kind === "recist") return [lengthMm(a, b, spacing), lengthMm(c, d, spacing)].sort((p, q) => q - p).map(mm).join(" × ");
  if (mark.kind === "box") {
    const [x0, y0, x1, y1] = bounds(mark.points);
    return `${((x1 - x0) * spacing[2]).toFixed(0)} × ${((y1 - y0) * spacing[1]).toFixed(0)} mm`;
  }
  if (mark.kind !== "ellipse") return "";
  const found = values && statistics(mark, values, width, height);
  const area = `${areaMm2(mark, spacing).toFixed(0)} mm²`;
  const named = unit === "HU" ? " HU" : "";
  return found ? `${said(found.mean)} ± ${said(found.deviation)}${named} (${said(found.low)} to ${said(found.high)}), ${area}` : area;
}

function distanceToSegment([px, py], [ax, ay], [bx, by]) {
  const dx = bx - ax, dy = by - ay, long = dx * dx + dy * dy;
  const t = long ? Math.max(0, Math.min(1, ((px - ax) * dx + (py - ay) * dy) / long)) : 0;
  return Math.hypot(px - ax - t * dx, py - ay - t * dy);
}

// How far a place is from a mark's lines, all in the same pixels.
function distanceTo(kind, points, place) {
  if (kind === "text") return Math.hypot(place[0] - points[0][0], place[1] - points[0][1]);
  if (kind === "recist") return Math.min(distanceToSegment(place, points[0], points[1]), distanceToSegment(place, points[2], points[3]));
  if (kind === "length" || kind === "arrow") return distanceToSegment(place, points[0], points[1]);
  const [x0, y0, x1, y1] = bounds(points);
  if (kind === "ellipse") {
    const rx = (x1 - x0) / 2 || 1, ry = (y1 - y0) / 2 || 1;
    return Math.abs(Math.hypot((place[0] - (x0 + x1) / 2) / rx, (place[1] - (y0 + y1) / 2) / ry) - 1) * Math.min(rx, ry);
  }
  const corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
  return Math.min(...corners.map((corner, i) => distanceToSegment(place, corner, corners[(i + 1) % 4])));
}

// The letter of where a direction in the patient points to: L or R, P or A, H or F.
function letterOf(direction) {
  const k = direction.reduce((best, value, i) => (Math.abs(value) > Math.abs(direction[best]) ? i : best), 0);
  return ["RL", "AP", "FH"][k][direction[k] > 0 ? 1 : 0];
}

// Which slice it is and where it lies; of a run meant to be played, which frame and when it comes.
function placeText({ count, positions_mm, frame_rate_hz }, index) {
  if (frame_rate_hz) return `frame ${index + 1} / ${count} · ${(index / frame_rate_hz).toFixed(2)} s`;
  const z = positions_mm[index];
  return `slice ${index + 1} / ${count}${z === undefined ? "" : ` · z ${z.toFixed(1)} mm`}`;
}

// Where a slice lies along the normal, in mm; frames without a place count by their number.
const zOf = (series, index) => series.positions_mm[index] ?? index * series.spacing_mm[0];

function nearestSlice(series, z) {
  let best = 0;
  for (let i = 1; i < series.count; i += 1) if (Math.abs(zOf(series, i) - z) < Math.abs(zOf(series, best) - z)) best = i;
  return best;
}

function longSideMm([x0, y0, x1, y1], [, dy, dx]) {
  return Math.max((x1 - x0) * dx, (y1 - y0) * dy);
}

// How a second series lies on its canvas to be seen as the first: at its scale in mm, its middle moved by aside_mm.
function frameInMm(frame, first, canvas, second, other, [asideX, asideY]) {
  const [, firstDy, firstDx] = first.spacing_mm, [, dy, dx] = second.spacing_mm, perMm = frame.sx / firstDx * other.width / canvas.width;
  const middleX = ((canvas.width / 2 - frame.x) / frame.sx - first.width / 2) * firstDx + asideX;
  const middleY = ((canvas.height / 2 - frame.y) / frame.sy - first.height / 2) * firstDy + asideY;
  const sx = perMm * dx, sy = perMm * dy;
  return { sx, sy, x: other.width / 2 - (second.width / 2 + middleX / dx) * sx, y: other.height / 2 - (second.height / 2 + middleY / dy) * sy };
}

// A window dragged across for its width and up and down for its centre.
function draggedWindow([center, width], dx, dy, unit) {
  const step = Math.max(unit === "HU" ? 1 : 0, width / 300) / devicePixelRatio;
  return [center + dy * step, width + dx * step];
}
