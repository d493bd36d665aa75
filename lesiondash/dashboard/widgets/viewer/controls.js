// The controls round the slice: every key has one, with its letter.
const PRESETS = [["lung", -600, 1500], ["soft tissue", 40, 400], ["liver", 60, 150], ["bone", 400, 1800], ["brain", 40, 80], ["fit", null, null]];
const TOOLS = [
  ["box", "R", "Box", "Draw a box and search for it"], ["length", "L", "Length", "Measure a length"],
  ["recist", "B", "RECIST", "Long axis; the short one stands across it, drag its ends"], ["ellipse", "E", "Ellipse", "Statistics within an ellipse"],
  ["arrow", "A", "Arrow", "Point at something"], ["text", "T", "Text", "Write beside something"], ["select", "V", "Select", "Select, move, drag ends"],
  ["window", "W", "Window", "Drag to window"], ["pan", "P", "Pan", "Drag to pan; the middle button does always"],
];

function buildControls() {
  const button = (text, title) => element("button", { className: "ld-btn", textContent: text, title });
  const named = (node, name) => { node.setAttribute("aria-label", name); return node; };
  return {
    tools: Object.fromEntries(TOOLS.map(([tool, key, name, what]) => [tool, button(`${key} ${name}`, `${what} (${key})`)])),
    presets: PRESETS.map(([name], i) => button(`${i + 1} ${name}`, `Window: ${name} (${i + 1})`)),
    invert: button("I Invert", "Invert (I)"),
    overlay: button("F Filter", "Filter response over the slice (F)"),
    opacity: named(element("input", { type: "range", min: 0.1, max: 1, step: 0.05, value: 0.6 }), "opacity of the filter's response"),
    zoomIn: named(button("+", "Zoom in (+, or right drag)"), "zoom in"), zoomOut: named(button("−", "Zoom out (−)"), "zoom out"),
    reset: button("Esc Fit", "Whole slice again (Esc)"),
    undo: button("U Undo", "Undo (U, Ctrl+Z)"), redo: button("⇧U Redo", "Redo (Shift+U, Ctrl+Shift+Z)"),
    place: button("K Place", "A mark of this tool in the middle, to be moved by keys (K)"),
    next: button("N Next", "Select the next mark (N; Shift+N the one before)"), remove: button("Del Delete", "Delete the selected mark (Del)"),
    play: button("C Cine", "Play the slices, or stop (C)"),
    rate: named(element("input", { type: "number", min: 1, max: 60, value: 12, title: "Slices a second" }), "slices a second"),
    search: button("⏎ Search", "Search the box (Enter)"),
    slider: named(element("input", { type: "range", min: 0, max: 0, value: 0, title: "Slice (← →, wheel; Page Up and Down: five)" }), "slice"),
    edges: ["left", "top", "right", "bottom"].map((name) => named(element("input", { type: "number", step: "any", title: `Box, ${name} edge in pixels` }), `box ${name} edge, pixels`)),
    label: named(element("input", { type: "text", maxLength: 200, placeholder: "label" }), "label of the selected mark"),
    note: named(element("input", { type: "text", maxLength: 10000, placeholder: "note" }), "note on the selected mark"),
    measure: element("span", { className: "ld-measure" }),
  };
}
