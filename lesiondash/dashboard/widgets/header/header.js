// Header: elements as a table, searched as one types, copied as tab-separated text; private tags folded away.
const HEADS = ["Tag", "Name", "VR", "Value"];

function table(rows) {
  const heads = HEADS.map((text) => element("th", { textContent: text, scope: "col" }));
  const body = rows.map(([tag, name, vr, value]) => element("tr", {},
    element("td", { textContent: tag }), element("th", { textContent: name, scope: "row" }),
    element("td", { textContent: vr }), element("td", { textContent: value })));
  return element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body));
}

function render({ model, el }) {
  el.classList.add("ld-header");
  const find = element("input", { type: "search", placeholder: "tag, name or value" });
  find.setAttribute("aria-label", "search the header");
  const button = element("button", { className: "ld-btn", textContent: "Copy", title: "Copy what is listed, tab-separated" });
  const status = element("span"), standard = element("div", { className: "ld-rows", tabIndex: 0 });
  status.setAttribute("role", "status");
  standard.setAttribute("role", "region");
  standard.setAttribute("aria-label", "header elements");
  const folded = element("div", { className: "ld-rows" }), summary = element("summary");
  const privates = element("details", {}, summary, folded), removed = element("details");
  const foot = element("div", { className: "ld-foot" }, find, button, status), empty = element("p", { className: "ld-muted" });
  el.append(foot, empty, standard, privates, removed);

  const listed = () => {
    const words = find.value.trim().toLowerCase();
    return model.get("rows").filter((row) => !words || row.slice(0, 4).some((text) => text.toLowerCase().includes(words)));
  };
  const tell = (text) => { status.textContent = text; };
  const show = () => {
    const all = model.get("rows"), rows = listed(), plain = rows.filter((row) => !row[4]), own = rows.filter((row) => row[4]);
    foot.hidden = !all.length;
    empty.hidden = Boolean(rows.length);
    empty.textContent = all.length ? "No element matches." : model.get("shown") ? "This series came without a header."
      : "Load a scan to read its header.";
    standard.hidden = !plain.length;
    standard.replaceChildren(...(plain.length ? [table(plain)] : []));
    privates.hidden = !own.length;
    summary.textContent = `Private elements: ${own.length}`;
    folded.replaceChildren(...(own.length ? [table(own)] : []));
    tell(find.value.trim() ? `${rows.length} of ${all.length}` : `${all.length} elements`);
  };
  const showRemoved = () => {
    const names = model.get("removed");
    removed.hidden = !names.length;
    removed.replaceChildren(element("summary", { textContent: `Removed on arrival: ${names.length}` }), element("p", { textContent: `${names.join(", ")}.` }));
  };
  find.oninput = show;
  button.onclick = async () => {
    const rows = listed(), clean = (text) => text.replaceAll(/[\t\r\n]+/g, " ");
    const text = [HEADS, ...rows].map((row) => row.slice(0, 4).map(clean).join("\t")).join("\n");
    tell(await copyText(text) ? `${rows.length} elements copied` : "The browser refused the clipboard.");
  };
  model.on("change:rows change:shown", show);
  model.on("change:removed", showRemoved);
  show(); showRemoved();
}

export default { render };
