// Training: started here, run in a process of its own, watched by its files; a reload finds it again.
const CHARTS = [
  ["loss", "Loss", "– – chance: vectors that tell nothing apart"],
  ["knn", "Neighbours agree", "how often the vote of nine neighbours of other patients gives the type"],
  ["spread", "Spread", "1: vectors all over the sphere, 0: collapsed to one point"],
  ["rank", "Directions in use", "effective rank of the vectors"],
  ["alignment", "Distance of two slices", "of one lesion; lower is better"],
  ["uniformity", "Uniformity", "lower: the vectors are spread more evenly"],
  ["rate", "Learning rate", ""],
];
const COLLAPSED = 0.05;
const WORDS = { new: "not started", starting: "starting", running: "training", paused: "paused", stopped: "stopped", failed: "broke off", done: "done" };

const short = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString());
const duration = (s) => (s >= 5400 ? `${(s / 3600).toFixed(1)} h` : s >= 90 ? `${Math.round(s / 60)} min` : `${Math.round(s)} s`);

function svg(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}
function chart(steps, values, total, title, hint, chance) {
  const points = steps.map((step, k) => [step, values[k]]).filter(([, value]) => value !== null);
  const heights = points.map(([, value]) => value).concat(chance === null ? [] : [chance]);
  let low = Math.min(...heights), high = Math.max(...heights);
  if (high - low < 1e-9) { low -= 0.5; high += 0.5; }
  const x = (step) => (100 * step) / Math.max(total, 1), y = (value) => 58 - (52 * (value - low)) / (high - low);
  const picture = svg("svg", { viewBox: "0 0 100 64", preserveAspectRatio: "none", role: "img" });
  const last = points.at(-1)[1];
  picture.setAttribute("aria-label", `${title}: ${short(last)} after ${steps.at(-1)} steps, from ${short(points[0][1])}`);
  if (chance !== null) picture.append(svg("line", { x1: 0, x2: 100, y1: y(chance), y2: y(chance) }));
  picture.append(svg("polyline", { points: points.map(([step, value]) => `${x(step)},${y(value)}`).join(" ") }));
  const caption = element("figcaption", { title: hint }, title, element("b", { textContent: short(last) }));
  return element("figure", {}, caption, picture);
}

function render({ model, el }) {
  el.classList.add("ld-train");
  const { data, models, filters, pools, steps, batch } = model.get("choices");
  const source = choice("data", data, data[0][0]);
  const kind = choice("model", models, models[0][0]), filter = choice("filter", filters, filters[0][0]);
  filter.title = "The filter as it is set on the page now, in the page's window";
  const pool = choice("pooling", pools, pools[0][0]);
  const length = element("input", { type: "number", min: 1, value: steps }), size = element("input", { type: "number", min: 2, value: batch });
  const button = (text, onclick) => element("button", { className: "ld-btn", textContent: text, onclick });
  const start = button("Start", () => model.send({
    type: "start", data: source.value, model: kind.value, frangi: filter.value, pool: pool.value, steps: Number(length.value), batch: Number(size.value),
  }));
  const ask = (type) => () => model.send({ type, name: model.get("run").name });
  const pause = button("Pause", () => ask(model.get("run").state === "running" ? "pause" : "resume")());
  const stop = button("Stop", ask("stop")), use = button("Search with it", ask("use"));
  const older = element("select", { onchange: () => model.send({ type: "show", name: older.value }) });
  older.setAttribute("aria-label", "run shown");
  const status = element("span"), bar = element("i"), warning = element("p", { className: "ld-warn" });
  status.setAttribute("role", "status");
  const charts = element("div", { className: "ld-charts" }), picture = element("img", { alt: "" });
  const views = element("figure", { className: "ld-views" }, element("figcaption", { textContent: "What it sees: views of the same lesions, one above the other" }), picture);
  el.append(
    element("div", { className: "ld-foot" }, source, kind, filter, pool, element("label", {}, "steps", length), element("label", {}, "lesions a step", size), start),
    element("div", { className: "ld-foot" }, older, pause, stop, use, status),
    element("div", { className: "ld-line" }, bar), warning, charts, views,
  );

  function showRuns() {
    older.replaceChildren(...model.get("runs").map(({ name, state }) => element("option", { value: name, textContent: `${name}, ${WORDS[state]}` })));
    older.hidden = !model.get("runs").length;
    older.value = model.get("run").name ?? "";
  }
  function showRun() {
    const run = model.get("run"), on = ["running", "paused"].includes(run.state);
    const parts = [WORDS[run.state] ?? ""];
    if (run.steps) parts.push(`step ${run.step} of ${run.steps}`);
    if (run.views_per_s && run.state === "running") parts.push(`${short(run.views_per_s)} views/s`, `${duration(run.remaining_s)} left`);
    if (run.device) parts.push(run.device);
    if (run.memory_mb) parts.push(`${(run.memory_mb / 1024).toFixed(1)} GB`);
    if (run.message) parts.push(run.message);
    status.textContent = run.name ? parts.join(" · ") : "No training yet.";
    bar.style.width = `${run.steps ? (100 * run.step) / run.steps : 0}%`;
    pause.textContent = run.state === "running" ? "Pause" : "Resume";
    pause.hidden = !["running", "paused", "stopped", "failed"].includes(run.state);
    stop.hidden = !on;
    use.hidden = run.state !== "done";
    use.disabled = Boolean(run.busy);
    start.disabled = Boolean(run.training);
    start.title = run.training ? "A training is under way" : "";
    warning.textContent = run.warning ?? "";
    older.value = run.name ?? "";
  }
  function showCurves() {
    const curves = model.get("curves"), run = model.get("run");
    const shown = CHARTS.filter(([name]) => curves[name]?.some((value) => value !== null));
    charts.replaceChildren(...shown.map(([name, title, hint]) =>
      chart(curves.step, curves[name], run.steps, title, hint, name === "loss" ? run.chance ?? null : null)));
    const spread = curves.spread?.filter((value) => value !== null).at(-1);
    if (spread !== undefined && spread < COLLAPSED && !run.warning) warning.textContent = "The vectors are collapsing to one point: lower the learning rate, or take a larger batch.";
  }
  function showViews() {
    const bytes = model.get("views");
    views.hidden = !bytes.byteLength;
    URL.revokeObjectURL(picture.src);
    if (bytes.byteLength) picture.src = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
    picture.alt = "Two augmented views of each of a few lesions";
  }
  model.on("change:runs", showRuns);
  model.on("change:run", () => { showRun(); showCurves(); });
  model.on("change:curves", showCurves);
  model.on("change:views", showViews);
  showRuns(); showRun(); showCurves(); showViews();
}

export default { render };
