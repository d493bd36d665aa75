// The bar on top: chips, theme, keys, and the one place where notices appear.
const KEYS = [
  ["Wheel, ↑ ↓ or slider", "other slice (Page Up / Down: five)"],
  ["R", "box: drag on the slice; or type its edges below the slice"],
  ["L B E A T", "length, RECIST axes, ellipse, arrow, text: drag, or K for one in the middle"],
  ["V, N, Shift + N", "select by pointer; the next mark, the one before"],
  ["Shift + arrows", "move the selected mark, else the box; with Alt, size it"],
  ["Del, U, Shift + U", "delete the selected mark; undo, redo"],
  ["Enter", "search the box"],
  ["W", "window: drag across for width, up and down for centre"],
  ["1 – 6", "lung, soft tissue, liver, bone, brain, fit"],
  ["+ − or right drag, middle drag", "zoom, pan"],
  ["Space", "A/B: freeze the filter's setting as A; then A and the present one change places"],
  ["I, F, C", "invert; the filter's response over the slice; play the slices"],
  ["Esc", "whole slice again"],
  ["Y, G, X", "two slices: scrolled together or apart; both lesions enlarged; close the second"],
  ["Tab, Enter", "tiles and every other control"],
];
const THEMES = ["auto", "light", "dark"];
const EMPTY_MS = 1500;

function readTheme() {
  try { return localStorage.getItem("lesiondash-theme") ?? "auto"; } catch { return "auto"; }
}

function applyTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.ldTheme;
  else document.documentElement.dataset.ldTheme = theme;
  try {
    if (theme === "auto") localStorage.removeItem("lesiondash-theme");
    else localStorage.setItem("lesiondash-theme", theme);
  } catch { /* storage refused: the choice lasts as long as the page */ }
}

function helpDialog() {
  const list = element("dl");
  for (const [keys, meaning] of KEYS) list.append(element("dt", { textContent: keys }), element("dd", { textContent: meaning }));
  const close = element("button", { className: "ld-btn", textContent: "Close", autofocus: true });
  const dialog = element("dialog", {}, element("b", { textContent: "Keys and gestures on the slice" }), list, close);
  close.onclick = () => dialog.close();
  return dialog;
}

// Link and code are asked for when the dialog opens: they follow what is shown.
function shareDialog(model) {
  const fields = [["link", "Link that reopens this view", 4], ["code", "The same in Python", 14]].map(([name, title, rows]) => {
    const area = element("textarea", { readOnly: true, rows, spellcheck: false });
    area.setAttribute("aria-label", title);
    const copy = element("button", { className: "ld-btn", textContent: "Copy" });
    copy.setAttribute("aria-label", `Copy: ${title}`);
    const done = element("span", { className: "ld-muted" });
    done.setAttribute("role", "status");
    copy.onclick = async () => { done.textContent = await copyText(area.value) ? "copied" : "The browser refused the clipboard."; };
    return { name, area, copy, done, node: element("section", {}, element("header", {}, element("b", { textContent: title }), done, copy), area) };
  });
  const close = element("button", { className: "ld-btn", textContent: "Close", autofocus: true });
  const dialog = element("dialog", { className: "ld-share" }, ...fields.map(({ node }) => node), close);
  dialog.setAttribute("aria-label", "Link and code");
  close.onclick = () => dialog.close();
  const show = (message) => {
    if (message.type !== "shared") return;
    for (const { name, area, copy, done } of fields) {
      const said = message[name];
      area.value = name === "link" && said ? `${location.href.split(/[?#]/)[0]}?${said}` : said || message.why;
      copy.disabled = !said;
      done.textContent = "";
    }
  };
  model.on("msg:custom", show);
  const open = () => { for (const { area } of fields) area.value = ""; dialog.showModal(); model.send({ type: "share" }); };
  return { dialog, open, end: () => model.off("msg:custom", show) };
}

function render({ model, el }) {
  el.classList.add("ld-bar");
  const title = element("h1", {}, "lesion", element("span", { textContent: "dash" }));
  const chips = element("span", { style: "display:contents" });
  const theme = element("button", { className: "ld-btn", title: "Light, dark, or as the system says" });
  const help = element("button", { className: "ld-btn", textContent: "? Keys", title: "Keys and gestures (?)" });
  const share = element("button", { className: "ld-btn", textContent: "Link & code", title: "A link that reopens this view, and the Python that does the same" });
  const dialog = helpDialog(), shared = shareDialog(model);
  const notice = element("div");
  const header = element("header", {}, title, chips, element("span", { className: "ld-space" }),
    element("span", { className: "ld-chip", textContent: "not for diagnosis" }), share, theme, help);
  el.append(header, notice, dialog, shared.dialog);

  const showTheme = () => { theme.textContent = `Theme: ${readTheme()}`; };
  theme.onclick = () => {
    applyTheme(THEMES[(THEMES.indexOf(readTheme()) + 1) % THEMES.length]);
    showTheme();
  };
  help.onclick = () => dialog.showModal();
  share.onclick = shared.open;
  const onKey = (event) => {
    if (event.key === "?" && !event.target.closest?.("input, textarea, .jp-CodeCell .cm-editor")) dialog.showModal();
  };
  document.addEventListener("keydown", onKey);

  const showChips = () => chips.replaceChildren(...model.get("chips").map(({ name, value }) =>
    element("span", { className: "ld-chip" }, element("b", { textContent: name }), value)));
  const showNotice = () => {
    const { kind, text } = model.get("notice");
    notice.replaceChildren();
    if (!text) return;
    const close = element("button", { className: "ld-btn", textContent: "Dismiss" });
    const box = element("div", { className: `ld-notice ${kind}` }, element("span", { textContent: text }), close);
    box.setAttribute("role", kind === "error" ? "alert" : "status");
    close.onclick = () => notice.replaceChildren();
    notice.append(box);
  };
  model.on("change:chips", showChips);
  model.on("change:notice", showNotice);
  showTheme(); showChips(); showNotice();
  applyTheme(readTheme());
  // Two frames: the page has been painted before the kernel starts on what is heavy.
  requestAnimationFrame(() => requestAnimationFrame(() => model.send({ type: "ready" })));
  // Plotly draws the map before it stands in the page, at a width of its own; a resize makes it as wide as its panel.
  // A map with buttons and, a while later, no legend was drawn before it had its lesions, and is asked for anew. Not at
  // once: the legend of a busy browser's first map may still come, and a second map would take its place under a hand.
  let wait = 0;
  const askAnew = () => { wait = 0; model.send({ type: "map_empty" }); };
  const drawn = new MutationObserver(() => {
    if (document.querySelector(".ld-map .legend")) {
      clearTimeout(wait);
      drawn.disconnect();
      requestAnimationFrame(() => window.dispatchEvent(new Event("resize")));
    } else if (!wait && document.querySelector(".ld-map .modebar-btn")) wait = setTimeout(askAnew, EMPTY_MS);
  });
  drawn.observe(document.body, { childList: true, subtree: true });
  return () => {
    document.removeEventListener("keydown", onKey);
    clearTimeout(wait); drawn.disconnect(); shared.end();
  };
}

export default { render };
