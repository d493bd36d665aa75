// Many boxes at once: choose what to search for, watch it, look at any line's nine, save all as a file.
const NAMES = ["", "scan", "slice", "label", "likely type", "of its neighbours", "nearest", "cos"];

function line(model, { number, scan, slice, label, likely, vote, nearest, cosine, error }) {
  const show = element("button", { className: "ld-btn", textContent: number, title: "Show it in its slice, with its nine", onclick: () => model.send({ type: "show", number }) });
  show.setAttribute("aria-label", `Box ${number}: show it in its slice, with its nine`);
  const cells = [scan, slice, label, ...(error ? [] : [likely, vote, nearest, cosine])].map((text) => element("td", { textContent: text }));
  if (error) cells.push(element("td", { textContent: error, colSpan: 4, className: "ld-error" }));
  return element("tr", {}, element("th", { scope: "row" }, show), ...cells);
}

function render({ model, el }) {
  el.classList.add("ld-many");
  const button = (textContent, onclick) => element("button", { className: "ld-btn", textContent, onclick });
  const file = element("input", { type: "file", accept: ".csv,.json", hidden: true });
  const choose = button("A list (CSV, JSON)", () => file.click()), stop = button("Stop", () => model.send({ type: "stop" }));
  choose.title = "Boxes on the scans that are loaded: scan (its title here; none for the one shown), slice, x0, y0, x1, y1, label";
  const csv = button("Save CSV", () => model.send({ type: "csv" })), json = button("Save JSON", () => model.send({ type: "json" }));
  const bar = element("progress"), status = element("span"), sources = element("span", { className: "ld-row" }), table = element("div", { className: "ld-lines", tabIndex: 0 });
  bar.setAttribute("aria-label", "boxes answered");
  status.setAttribute("role", "status");
  table.setAttribute("role", "region");
  table.setAttribute("aria-label", "boxes and what is nearest to them");
  el.append(element("div", { className: "ld-row" }, "Search for", sources, choose, file), element("div", { className: "ld-row" }, bar, status, stop, csv, json), table);
  file.onchange = async () => {
    const [chosen] = file.files;
    if (chosen) model.send({ type: "list", name: chosen.name, text: await chosen.text() });
    file.value = "";
  };

  function showState() {
    const running = model.get("running");
    sources.replaceChildren(...model.get("sources").map(([name, text]) => Object.assign(button(text, () => model.send({ type: "start", source: name })), { disabled: running })));
    choose.disabled = running;
    bar.hidden = stop.hidden = !running;
    bar.max = Math.max(1, model.get("total")); bar.value = model.get("done");
    status.textContent = model.get("status");
  }
  function showLines() {
    const lines = model.get("lines");
    csv.hidden = json.hidden = table.hidden = !lines.length;
    const head = element("tr", {}, ...NAMES.map((name) => element("th", { scope: "col", textContent: name })));
    table.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines.map((each) => line(model, each)))));
  }
  model.on("msg:custom", ({ type, text }) => {
    if (type === "csv") saveFile("similar-lesions.csv", text, "text/csv");
    if (type === "json") saveFile("similar-lesions.json", text, "application/json");
  });
  model.on("change:sources change:running change:status change:done change:total", showState);
  model.on("change:lines", showLines);
  showState(); showLines();
}

export default { render };
