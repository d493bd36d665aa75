// Suggested boxes: asked for on the slice shown, each a button that draws its box and searches for it.
function render({ model, el }) {
  el.classList.add("ld-suggest");
  const ask = element("button", { className: "ld-btn", textContent: "Suggest boxes", title: "Where the filter answers strongest on this slice, as to something round and bright", onclick: () => model.send({ type: "suggest" }) });
  const list = element("span", { className: "ld-boxes" }), status = element("span", { className: "ld-muted" });
  list.setAttribute("role", "group");
  list.setAttribute("aria-label", "suggested boxes, strongest first");
  status.setAttribute("role", "status");
  el.append(ask, list, status);

  function showBoxes() {
    const held = list.contains(document.activeElement) ? [...list.children].indexOf(document.activeElement) : -1;
    list.replaceChildren(...model.get("boxes").map((size, number) => {
      const node = element("button", { className: "ld-btn", textContent: `${number + 1}: ${size} mm`, onclick: () => model.send({ type: "take", number }) });
      node.setAttribute("aria-pressed", String(number === model.get("chosen")));
      node.setAttribute("aria-label", `Suggestion ${number + 1}, ${size} mm: draw it and search`);
      return node;
    }));
    list.children[held]?.focus();
  }
  const showStatus = () => { status.textContent = model.get("status"); };
  model.on("change:boxes change:chosen", showBoxes);
  model.on("change:status", showStatus);
  showBoxes(); showStatus();
}

export default { render };
