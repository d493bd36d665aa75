// Sensitivity: two parameters, one outcome, a heat map that fills while it is computed.
const VIRIDIS = [[71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [253, 231, 37]];

const number = (value) => String(Number(value.toPrecision(3)));

function colour(share) {
  const at = Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1), k = Math.min(Math.floor(at), VIRIDIS.length - 2), part = at - k;
  return VIRIDIS[k].map((value, channel) => Math.round(value + part * (VIRIDIS[k + 1][channel] - value)));
}

function heatMap({ rows, columns, row_name, column_name, mean, spread }) {
  const known = mean.flat().filter((value) => value !== null), low = Math.min(...known), high = Math.max(...known);
  const head = element("tr", {}, element("th", { textContent: `${row_name} ↓ ${column_name} →`, scope: "col" }),
    ...columns.map((value) => element("th", { textContent: number(value), scope: "col" })));
  const body = rows.map((value, r) => element("tr", {}, element("th", { textContent: number(value), scope: "row" }),
    ...columns.map((_, c) => {
      const found = mean[r][c];
      if (found === null) return element("td", { textContent: "·" });
      const [red, green, blue] = colour(high > low ? (found - low) / (high - low) : 0.5);
      const dark = 0.3 * red + 0.59 * green + 0.11 * blue < 130;
      return element("td", {
        textContent: found.toFixed(2), title: `${number(found)} ± ${number(spread[r][c])} between regions`,
        style: `background:rgb(${red},${green},${blue});color:${dark ? "#fff" : "#111"}`,
      });
    })));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

function render({ model, el }) {
  el.classList.add("ld-sens");
  const { parameters, outcomes, counts } = model.get("choices");
  const named = parameters.map((name) => [name, name]);
  const row = choice("first parameter", named, parameters[0]), column = choice("second parameter", named, parameters[1]);
  const outcome = choice("outcome", outcomes, outcomes[0][0]);
  const count = choice("regions", counts.map(([value, text]) => [String(value), text]), String(counts[0][0]));
  const button = (text, onclick) => element("button", { className: "ld-btn", textContent: text, onclick });
  const start = button("Start", () => model.send(model.get("running") ? { type: "stop" }
    : { type: "start", row: row.value, column: column.value, outcome: outcome.value, count: Number(count.value) }));
  const csv = button("Save CSV", () => model.send({ type: "csv" })), png = button("Save PNG", () => model.send({ type: "png" }));
  const status = element("span"), map = element("div", { className: "ld-heat" });
  status.setAttribute("role", "status");
  el.append(element("div", { className: "ld-foot" }, row, "by", column, outcome, count, start, csv, png, status), map);

  const showState = () => {
    start.textContent = model.get("running") ? "Stop" : "Start";
    status.textContent = model.get("status");
  };
  const showResult = () => {
    const result = model.get("result"), some = Boolean(result.mean?.flat().some((value) => value !== null));
    csv.disabled = png.disabled = !some;
    map.replaceChildren(...(some ? [heatMap(result)] : []));
  };
  model.on("change:running", showState);
  model.on("change:status", showState);
  model.on("change:result", showResult);
  model.on("msg:custom", (message, buffers) => {
    if (message.type === "csv") saveFile("sensitivity.csv", message.text, "text/csv");
    if (message.type === "png") saveFile("sensitivity.png", buffers[0], "image/png");
  });
  showState(); showResult();
}

export default { render };
