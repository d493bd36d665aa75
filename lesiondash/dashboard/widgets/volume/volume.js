// Volume: open, lay out, and move the crosshair by slider, so that nothing needs a mouse.
const LAYOUTS = [["all", "Planes and 3-D"], ["axial", "Axial"], ["coronal", "Coronal"], ["sagittal", "Sagittal"], ["render", "3-D"]];
const AXES = [["Left – right", 0], ["Back – front", 1], ["Feet – head", 2]];

function render({ model, el }) {
  el.classList.add("ld-volume");
  const button = (text, type) => element("button", { className: "ld-btn", textContent: text, onclick: () => model.send({ type }) });
  const open = button("", "toggle"), here = button("Show this slice", "slice"), itk = button("Open in itkwidgets", "itk");
  here.title = "Show the slice under the crosshair in the viewer";
  const layouts = element("select", { onchange: () => model.send({ type: "layout", name: layouts.value }) },
    ...LAYOUTS.map(([value, text]) => element("option", { value, textContent: text })));
  layouts.setAttribute("aria-label", "planes shown");
  const status = element("span"), why = element("p", { className: "ld-muted" });
  status.setAttribute("role", "status");
  const sliders = AXES.map(([name]) => {
    const input = element("input", { type: "range", min: 0, max: 1, step: 0.002 });
    input.oninput = () => model.send({ type: "crosshair", at: sliders.map((each) => Number(each.value)) });
    input.setAttribute("aria-label", `crosshair, ${name.toLowerCase()}`);
    return input;
  });
  const moves = element("div", { className: "ld-moves" }, ...AXES.map(([name], k) => element("label", {}, name, sliders[k])));
  el.append(element("div", { className: "ld-foot" }, open, layouts, here, itk, status), moves, why);

  const show = () => {
    const opened = model.get("opened");
    open.textContent = opened ? "Close" : "Open planes and 3-D";
    open.disabled = !model.get("ready") && !opened;
    layouts.hidden = here.hidden = moves.hidden = !opened;
    layouts.value = model.get("layout_name");
    status.textContent = model.get("status");
    const { works, text } = model.get("itk");
    itk.hidden = !opened || !works;
    why.hidden = !opened || works || !text;
    why.textContent = text ?? "";
  };
  const showCrosshair = () => sliders.forEach((input, k) => {
    if (document.activeElement !== input) input.value = model.get("crosshair")[k];
  });
  model.on("change:ready change:opened change:layout_name change:status change:itk", show);
  model.on("change:crosshair", showCrosshair);
  show(); showCrosshair();
}

export default { render };
