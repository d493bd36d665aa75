// Slices by "uid index": asked for once, ahead of the hand, and the oldest forgotten.
const CACHE_SLICES = 400, AHEAD = 16, AT_ONCE = 6, AGAIN_MS = 5000;

function makeSlices(model, onArrive) {
  const cache = new Map(), asked = new Map();
  model.on("change:loaded", () => { cache.clear(); asked.clear(); onArrive("", -1); });  // a scan may have been read anew
  const bytesOf = ({ buffer, byteOffset, byteLength }) => buffer.slice(byteOffset, byteOffset + byteLength);
  model.on("msg:custom", (message, buffers) => {
    if (message.type !== "slice") return;
    const key = `${message.uid} ${message.index}`, [sent] = buffers;
    asked.delete(key);
    const whole = new Int16Array(sent.buffer ? bytesOf(sent) : sent), { slope, intercept } = message;
    cache.set(key, slope ? Float32Array.from(whole, (value) => value * slope + intercept) : whole);
    if (cache.size > CACHE_SLICES) cache.delete(cache.keys().next().value);
    onArrive(message.uid, message.index);
  });
  const wanted = (uid, index) => !cache.has(`${uid} ${index}`) && !(performance.now() - asked.get(`${uid} ${index}`) < AGAIN_MS);
  return {
    get: (uid, index) => cache.get(`${uid} ${index}`),
    // The slice shown first, then those ahead in the direction of the scroll, one behind.
    want(uid, index, count, direction) {
      const order = [index];
      for (let k = 1; k <= AHEAD; k += 1) order.push(index + k * direction);
      order.push(index - direction);
      const indices = order.filter((i) => i >= 0 && i < count && wanted(uid, i));
      // Several in one question, unless the slice that is shown waits, or an end of the series is near.
      const near = index <= AHEAD || index >= count - AHEAD - 1;
      if (!indices.length || (indices.length < AT_ONCE && !near && !indices.includes(index))) return;
      for (const i of indices) asked.set(`${uid} ${i}`, performance.now());
      model.send({ type: "slices", uid, indices });
    },
  };
}

// The filter's response to a slice, asked for when it is shown and the hand rests; made anew when the filter changes.
function makeOverlays(model, onArrive) {
  let cache = new Map(), timer = 0, waiting = "";
  const REST_MS = 120;
  model.on("msg:custom", (message, buffers) => {
    if (message.type !== "overlay" || message.version !== model.get("overlay_version")) return;
    const view = buffers[0], bytes = view.buffer ? view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) : view;
    cache.set(`${message.uid} ${message.index}`, new Uint8Array(bytes));
    waiting = "";
    onArrive();
  });
  model.on("change:overlay_version", () => { cache = new Map(); waiting = ""; onArrive(); });
  return (uid, index) => {
    const key = `${uid} ${index}`;
    if (!cache.has(key) && waiting !== key) {
      waiting = key;
      clearTimeout(timer);
      timer = setTimeout(() => model.send({ type: "overlay", uid, index }), REST_MS);
    }
    return cache.get(key);
  };
}
