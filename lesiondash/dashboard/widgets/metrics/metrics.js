// Scores of the loaded collection and encoder: one scope at a time, each score between chance and the best possible.
const percent = (share) => `${(100 * share).toFixed(2)}%`;

function line({ score, low, high, chance, ceiling }) {
  const mark = (className, at) => element("i", { className, style: `left: ${percent(at)}` });
  const band = element("i", { className: "ld-band", style: `left: ${percent(low)}; width: ${percent(high - low)}` });
  return element("div", { className: "ld-track", ariaHidden: "true" }, band, mark("ld-chance", chance), mark("ld-best", ceiling), mark("ld-dot", score));
}

function render({ model, el }) {
  el.classList.add("ld-metrics");
  const measure = element("button", { className: "ld-btn", textContent: "Measure", onclick: () => model.send({ type: "measure" }) });
  const scope = element("select"), status = element("span", { className: "ld-muted" });
  const holder = element("div"), tables = element("div"), notes = element("div", { className: "ld-notes" });
  scope.setAttribute("aria-label", "scope of the scores");
  status.setAttribute("role", "status");
  el.append(element("div", { className: "ld-head" }, measure, scope, status), holder, notes, tables);
  scope.onchange = show;

  function show() {
    const scopes = model.get("scopes"), chosen = scopes.find(({ name }) => name === scope.value) ?? scopes[0];
    measure.disabled = model.get("running");
    status.textContent = model.get("status");
    scope.hidden = !scopes.length;
    notes.replaceChildren(...model.get("notes").map((text) => element("div", { textContent: text })));
    if (!chosen) return holder.replaceChildren();
    const body = element("tbody");
    for (const row of chosen.rows) {
      body.append(element("tr", {}, element("th", { textContent: row.measure, scope: "row" }),
        element("td", { textContent: row.score.toFixed(3) }), element("td", { className: "ld-wide" }, line(row)),
        element("td", { className: "ld-muted", textContent: `${row.low.toFixed(3)} – ${row.high.toFixed(3)}` }),
        element("td", { className: "ld-muted", textContent: row.chance.toFixed(3) }),
        element("td", { className: "ld-muted", textContent: row.ceiling.toFixed(3) }),
        element("td", { className: "ld-muted", textContent: row.by_type.toFixed(3) })));
    }
    const head = element("thead", {}, element("tr", {}, ...["", "score", "", "95 %", "chance", "best", "by type"].map((textContent) => element("th", { textContent, scope: "col" }))));
    holder.replaceChildren(element("table", {}, head, body), element("div", { className: "ld-muted", textContent: chosen.note }));
  }
  // What the report has beside the scores; each opens by itself.
  function showTables() {
    tables.replaceChildren(...model.get("tables").map(({ title, head, rows }) => {
      const line = (cells, tag) => element("tr", {}, ...cells.map((textContent) => element(tag, { textContent })));
      const body = element("tbody", {}, ...rows.map((cells) => line(cells, "td")));
      return element("details", {}, element("summary", { textContent: title }), element("table", {}, element("thead", {}, line(head, "th")), body));
    }));
  }
  function fill() {
    const before = scope.value;
    scope.replaceChildren(...model.get("scopes").map(({ name, title }) => element("option", { value: name, textContent: title })));
    if (before) scope.value = before;
    show();
  }
  model.on("change:scopes", fill);
  model.on("change:tables", showTables);
  model.on("change:notes change:running change:status", show);
  fill(); showTables();
}

export default { render };
