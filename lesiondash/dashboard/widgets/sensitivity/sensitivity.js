// Sensitivity: two parameters, one outcome, a heat map that fills while it is computed.
const VIRIDIS = [[71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [253, 231, 37]];

const number = (value) => String(Number(value.toPrecision(3)));

function colour(share) {
  const at = Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1), k = Math.min(Math.floor(at), VIRIDIS.length - 2), part = at - k;
  return VIRIDIS[k].map((value, channel) => Math.round(value + part * (VIRIDIS[k + 1][channel] - value)));
}

function heatMap({ rows, columns, row_name, column_name, mean, spread, present, outcome, regions }) {
  const known = mean.flat(), low = Math.min(...known), high = Math.max(...known);
  const symbol = (name) => name.split(" (")[0], now = (r, c) => r === present[0] && c === present[1];
  const head = element("tr", {}, element("th", { textContent: `${symbol(row_name)} ↓  ${symbol(column_name)} →`, scope: "col" }),
    ...columns.map((value) => element("th", { textContent: number(value), scope: "col" })));
  const body = rows.map((value, r) => element("tr", {}, element("th", { textContent: number(value), scope: "row" }),
    ...columns.map((_, c) => {
      const found = mean[r][c];
      const [red, green, blue] = colour(high > low ? (found - low) / (high - low) : 0.5);
      const dark = 0.3 * red + 0.59 * green + 0.11 * blue < 130;
      return element("td", {
        textContent: found.toFixed(2), className: now(r, c) ? "ld-now" : "",
        title: `${number(found)} ± ${number(spread[r][c])} between regions${now(r, c) ? "; the present setting" : ""}`,
        style: `background:rgb(${red},${green},${blue});color:${dark ? "#fff" : "#111"}`,
      });
    })));
  const said = `${outcome}, mean of ${regions} regions; ${row_name} down, ${column_name} across`
    + (present.length ? "; framed: the present setting" : "");
  return element("table", {}, element("caption", { textContent: said }), element("thead", {}, head), element("tbody", {}, ...body));
}

function render({ model, el }) {
  el.classList.add("ld-sens");
  const { parameters, outcomes, counts } = model.get("choices");
  const row = choice("first parameter", parameters, parameters[0][0]), column = choice("second parameter", parameters, parameters[1][0]);
  const outcome = choice("outcome", outcomes, outcomes[0][0]);
  const count = choice("regions", counts.map(([value, text]) => [String(value), text]), String(counts[0][0]));
  const button = (text, onclick) => element("button", { className: "ld-btn", textContent: text, onclick });
  const start = button("Start", () => model.send(model.get("running") ? { type: "stop" }
    : { type: "start", row: row.value, column: column.value, outcome: outcome.value, count: Number(count.value) }));
  const csv = button("Save CSV", () => model.send({ type: "csv" })), png = button("Save PNG", () => model.send({ type: "png" }));
  const status = element("span"), bar = element("progress", { max: 1 }), meaning = element("p"), map = element("div", { className: "ld-heat" });
  status.setAttribute("role", "status");
  el.append(element("div", { className: "ld-foot" }, element("label", {}, "Vary ", row), element("label", {}, "against ", column),
    element("label", {}, "and watch ", outcome), element("label", {}, "over ", count), start, bar, status, csv, png), meaning, map);
  let started = 0;

  const showState = () => {
    const running = model.get("running"), share = model.get("share");
    if (running && !started) started = performance.now();
    if (!running) started = 0;
    const left = running && share ? Math.ceil((performance.now() - started) / 1000 * (1 - share) / share) : 0;
    start.textContent = running ? "Stop" : "Start";
    bar.hidden = !running;
    bar.value = share;
    status.textContent = model.get("status") + (left > 1 ? ` · about ${left} s left` : "");
    showMeaning();
  };
  const showMeaning = () => {
    const [, , said] = outcomes.find(([name]) => name === outcome.value);
    meaning.textContent = outcome.value === "neighbours" ? `${said} ${model.get("how")}` : said;
  };
  outcome.onchange = showMeaning;
  const showResult = () => {
    const result = model.get("result"), some = Boolean(result.mean);
    csv.disabled = png.disabled = !some;
    map.replaceChildren(...(some ? [heatMap(result)] : []));
  };
  model.on("change:running", showState);
  for (const name of ["status", "share", "how"]) model.on(`change:${name}`, showState);
  model.on("change:result", showResult);
  model.on("msg:custom", (message, buffers) => {
    if (message.type === "csv") saveFile("sensitivity.csv", message.text, "text/csv");
    if (message.type === "png") saveFile("sensitivity.png", buffers[0], "image/png");
  });
  showState(); showResult();
}

export default { render };
