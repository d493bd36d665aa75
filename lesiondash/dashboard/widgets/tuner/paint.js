// Pictures of bytes that the page has: grey, response, winning scale, difference.
const INFERNO = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];
const VIRIDIS = [[71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [253, 231, 37]];
const DIVERGING = [[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]];

const number = (value) => (value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3))));

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

// aspect: a pixel's width over its height, so that mm are alike both ways.
function paint(canvas, [height, width], aspect, colourAt) {
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  canvas.style.aspectRatio = `${width * aspect} / ${height}`;
  const image = new ImageData(width, height), out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < out.length; i += 1) out[i] = colourAt(i);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function figure(name) {
  const canvas = element("canvas", { width: 64, height: 64, tabIndex: 0 });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", name);
  const cross = element("i", { className: "ld-cross", hidden: true });
  const caption = element("figcaption", { textContent: name });
  return { canvas, cross, caption, node: element("figure", {}, element("div", { className: "ld-frame" }, canvas, cross), caption) };
}
