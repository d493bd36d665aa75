// Result tiles: HU crops, windowed like the slice beside them, so that query and results can be compared.
const SIDE = 64;

function asInt16(view) {
  return new Int16Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function paint(canvas, hu, [center, width]) {
  canvas.width = canvas.height = SIDE;
  const image = new ImageData(SIDE, SIDE), out = new Uint32Array(image.data.buffer), low = center - width / 2;
  for (let i = 0; i < hu.length; i += 1) {
    const grey = Math.max(0, Math.min(255, (hu[i] - low) * 255 / width)) | 0;
    out[i] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// Neighbours crowd near 1: four decimals tell them apart. No share is finer than one of the random pairs.
const cosine = (hit) => hit.similarity.toFixed(4);
const top = (hit) => (hit.top_percent < 0.1 ? "< 0.1" : hit.top_percent.toFixed(1));

const TYPE_HINT = "Probability of the lesion's type, by a calibrated classifier of its vector";

function describe(hit) {
  const similarity = hit.similarity === null ? "" : `, similarity ${cosine(hit)}, top ${top(hit)} percent of random pairs`;
  const again = hit.same_as ? `, likely the same lesion as ${hit.same_as}` : "";
  return `${hit.rank}: ${hit.type}, ${hit.size_mm} mm, patient ${hit.patient_id}, study ${hit.study}${similarity}${again}`;
}

// How many tiles, ranked how, of which types, sizes and splits: controls that send what they hold as one filter.
function narrowing(model) {
  const labelled = (text, node) => {
    node.setAttribute("aria-label", text);
    return element("label", {}, `${text} `, node);
  };
  const options = (names) => names.map((name) => element("option", { value: name, textContent: name }));
  const count = element("select"), kind = element("select"), split = element("select"), ranking = element("select"), from = element("input"), to = element("input");
  const any = () => element("option", { value: "", textContent: "all" });
  count.append(...options(model.get("ks")));
  ranking.append(...options(model.get("rankings")));
  kind.append(any(), ...options(model.get("known_types")));
  split.append(any(), ...options(model.get("known_splits")));
  for (const [node, placeholder] of [[from, "any"], [to, "any"]]) Object.assign(node, { type: "number", min: 0, step: 1, placeholder });
  from.setAttribute("aria-label", "smallest size in mm"); to.setAttribute("aria-label", "largest size in mm");
  const number = (node) => (node.value === "" ? null : Number(node.value));
  const send = () => model.send({ type: "filter", types: kind.value ? [kind.value] : null, size_mm: [number(from), number(to)], splits: split.value ? [split.value] : null });
  ranking.onchange = () => model.send({ type: "ranking", ranking: ranking.value });
  split.onchange = kind.onchange = from.onchange = to.onchange = send;
  count.onchange = () => model.send({ type: "k", k: Number(count.value) });
  function show() {
    const { types, size_mm: [low, high], splits } = model.get("filters");
    count.value = model.get("k"); ranking.value = model.get("ranking");
    kind.value = types ? types[0] : ""; split.value = splits ? splits[0] : "";
    from.value = low ?? ""; to.value = high ?? "";
  }
  show();
  const sizes = element("span", { className: "ld-sizes" }, "size ", from, " – ", to, " mm");
  return { node: element("div", { className: "ld-narrow" }, labelled("tiles", count), labelled("type", kind), sizes,
    ...(model.get("known_splits").length > 1 ? [labelled("split", split)] : []), labelled("ranked by", ranking)), show };
}

// The shares of a similarity over the places of a crop: brighter brings more; in percent of the whole.
function shares(rows, whole) {
  const least = Math.min(...rows.flat()), range = Math.max(...rows.flat()) - least || 1;
  const cells = rows.flat().map((share) => element("span", { textContent: `${Math.round(100 * share / whole)} %`, style: `--share: ${((share - least) / range).toFixed(3)}` }));
  const node = element("div", { className: "ld-shares", style: `grid-template-columns: repeat(${rows[0].length}, 1fr)` }, ...cells);
  node.classList.toggle("ld-fine", rows.length > 3);
  node.setAttribute("aria-label", `Shares of the similarity: ${cells.map((cell) => cell.textContent).join(", ")}`);
  node.setAttribute("role", "img");
  return node;
}

function render({ model, el }) {
  el.classList.add("ld-results");
  const scopes = element("div", { className: "ld-scopes", role: "radiogroup" });
  scopes.setAttribute("aria-label", "Search among");
  const status = element("span"), back = element("button", { className: "ld-btn", textContent: "Back to the nine" });
  status.setAttribute("role", "status");
  back.onclick = () => model.send({ type: "back" });
  const grid = element("div", { className: "ld-grid" });
  const vote = element("div", { className: "ld-vote" }), timeline = element("div", { className: "ld-timeline" });
  const feedback = element("div", { className: "ld-feedback" });
  for (const node of [vote, feedback]) node.setAttribute("role", "status");
  const narrow = narrowing(model);
  el.append(scopes, narrow.node, vote, grid, feedback, timeline);
  let canvases = [];

  const buttons = model.get("scopes").map(({ scope, title }) => {
    const node = element("button", { className: "ld-btn", textContent: title, onclick: () => model.send({ type: "scope", scope }) });
    node.setAttribute("role", "radio");
    node.dataset.scope = scope;
    return node;
  });
  scopes.append(...buttons, status, back);

  function showHead() {
    for (const node of buttons) node.setAttribute("aria-checked", String(node.dataset.scope === model.get("scope")));
    const title = model.get("title");
    status.textContent = title || model.get("status");
    back.hidden = !title;
  }
  function tile(hit, canvas) {
    const text = element("div", { className: "ld-text" },
      element("b", { textContent: hit.type }), element("span", { textContent: `${hit.size_mm} mm` }));
    if (hit.similarity !== null) {
      text.append(element("span", { textContent: `cos ${cosine(hit)}` }),
        element("span", { textContent: `top ${top(hit)} %`, title: "Share of random pairs of different patients that are at least as similar" }));
    }
    text.append(element("span", { className: "ld-patient", textContent: `pat. ${hit.patient_id}` }), element("span", { className: "ld-study", textContent: `study ${hit.study}` }));
    const node = element("button", { className: "ld-tile", title: "Show in its slice", onclick: () => model.send({ type: "open", lesion_id: hit.lesion_id }) },
      element("div", { className: "ld-pic" }, canvas, element("span", { className: "ld-rank", textContent: hit.rank })), text);
    node.setAttribute("aria-label", describe(hit));
    node.setAttribute("aria-pressed", String(hit.lesion_id === model.get("opened")));
    node.dataset.lesion = hit.lesion_id;
    if (hit.similarity === null) return node;
    if (hit.same_as) text.append(element("span", { className: "ld-same", textContent: `${hit.same_as} again`, title: `Likely the same lesion as ${hit.same_as} in another study, by its place` }));
    return element("div", { className: "ld-cell" }, node, tools(hit));
  }
  function tools(hit) {
    const { liked = [], disliked = [] } = model.get("feedback"), why = model.get("why");
    const tool = (type, sign, title, pressed) => {
      const node = element("button", { className: "ld-tool", textContent: sign, title, onclick: () => model.send({ type, lesion_id: hit.lesion_id }) });
      node.setAttribute("aria-label", `${title}: ${hit.rank}`);
      node.setAttribute("aria-pressed", String(pressed));
      node.dataset.tool = `${type} ${hit.lesion_id}`;
      return node;
    };
    return element("div", { className: "ld-tools" },
      tool("more", "+", "More like this", liked.includes(hit.lesion_id)),
      tool("less", "−", "Less like this", disliked.includes(hit.lesion_id)),
      tool("why", "why", "Where the similarity sits", why.lesion_id === hit.lesion_id));
  }
  function showHits() {
    const hits = model.get("hits"), query = model.get("query");
    canvases = hits.map(() => element("canvas"));
    const nodes = hits.map((hit, i) => tile(hit, canvases[i]));
    if (query.byteLength && !model.get("title")) {
      const canvas = element("canvas");
      canvas.dataset.query = "yes";
      nodes.unshift(element("div", { className: "ld-tile" }, element("div", { className: "ld-pic" }, canvas),
        element("div", { className: "ld-text" }, element("b", { textContent: "your box" }),
          ...model.get("types").map(([type, share]) => element("span", { textContent: `${type} ${Math.round(100 * share)}\u00a0%`, title: TYPE_HINT })))));
    }
    if (!hits.length && !query.byteLength) nodes.push(element("div", { className: "ld-hint", textContent: "Draw a box on the slice: its nine nearest lesions appear here." }));
    const toolsShown = () => [...grid.querySelectorAll(".ld-tool")];
    const held = toolsShown().indexOf(document.activeElement), name = document.activeElement?.dataset.tool;
    grid.replaceChildren(...nodes);
    // A tool that was pressed keeps the keyboard, though its tile is drawn anew; so does its place, where the tile is gone.
    if (held >= 0) (toolsShown().find((node) => node.dataset.tool === name) ?? toolsShown()[held])?.focus();
    showPictures();
    showWhy();
  }
  function showWhy() {
    const { lesion_id: id, first, second, similarity } = model.get("why");
    for (const node of grid.querySelectorAll(".ld-shares")) node.remove();
    for (const node of grid.querySelectorAll('.ld-tool[data-tool^="why "]')) node.setAttribute("aria-pressed", String(node.dataset.tool === `why ${id}`));
    const asked = grid.querySelector("canvas[data-query]"), found = id && grid.querySelector(`button[data-lesion="${CSS.escape(id)}"] canvas`);
    if (!id || !asked || !found) return;
    asked.parentElement.append(shares(first, similarity));
    found.parentElement.append(shares(second, similarity));
  }
  function showAside() {
    vote.textContent = model.get("vote");
    vote.hidden = !vote.textContent;
    const { liked = [], disliked = [], said = "" } = model.get("feedback");
    const button = (type, textContent) => element("button", { className: "ld-btn", textContent, onclick: () => model.send({ type }) });
    feedback.replaceChildren(...(liked.length || disliked.length || said ? [element("span", { textContent: said }), button("undo", "Undo"), button("reset", "As the box alone")] : []));
    const again = model.get("timeline");
    timeline.replaceChildren(...(again.length ? [element("span", { className: "ld-muted", textContent: "Likely this lesion over time:" })] : []),
      ...again.map(({ lesion_id, text, now }) => {
        const node = element("button", { className: "ld-btn", textContent: text, disabled: now, onclick: () => model.send({ type: "open", lesion_id }) });
        if (now) node.setAttribute("aria-current", "true");
        return node;
      }));
  }
  function showPictures() {
    const crops = asInt16(model.get("crops")), window = model.get("window");
    canvases.forEach((canvas, i) => paint(canvas, crops.subarray(i * SIDE * SIDE, (i + 1) * SIDE * SIDE), window));
    const query = grid.querySelector("canvas[data-query]");
    if (query) paint(query, asInt16(model.get("query")), window);
  }
  function showOpened() {
    for (const node of grid.querySelectorAll("button.ld-tile")) node.setAttribute("aria-pressed", String(node.dataset.lesion === model.get("opened")));
  }
  model.on("change:scope change:title change:status", showHead);
  model.on("change:hits change:crops change:query change:title change:types", () => queueMicrotask(showHits));
  model.on("change:window", showPictures);
  model.on("change:why", showWhy);
  model.on("change:vote change:feedback change:timeline", showAside);
  model.on("change:feedback", () => queueMicrotask(showHits));
  model.on("change:filters change:k change:ranking", narrow.show);
  model.on("change:opened", showOpened);
  showHead(); showHits(); showAside();
}

export default { render };
