// Why a pixel is bright: the eigenvalues of its curvature, the three ratios and what each makes of the response.
const WHY = "Point at a picture, or focus it and use the arrow keys, to see why a pixel is bright.";
const TERMS = [
  ["A", "a spot, not a line", "R_A", "m₂ ∕ |λ₃|"],
  ["B", "a line, not a spot", "R_B", "m₁ ∕ √(m₂ |λ₃|)"],
  ["C", "strong enough", "S", "√(λ₁² + λ₂² + λ₃²)"],
];

function verdict(t, values) {
  if (t.ra === undefined) return "This preset's formula is no product of A, B and C; the presets paper, literal and balanced are.";
  const [, second, third] = t.eigenvalues;
  if (t.gated) {
    if (third === 0) return "Dark: the picture is flat here, λ₃ is 0.";
    const wrong = values.polarity === "bright" ? third > 0 : values.polarity === "dark" && third < 0;
    return wrong
      ? `Dark: λ₃ says that it is ${third > 0 ? "darker" : "brighter"} than what surrounds it, and ${values.polarity} structures are asked for.`
      : `Dark: λ₂ (${number(second)}) and λ₃ differ in sign, which this preset shuts out.`;
  }
  const share = { A: t.ra_factor / fullA(values), B: t.rb_factor, C: t.structure };
  const least = Object.keys(share).reduce((a, b) => (share[b] < share[a] ? b : a));
  if (share[least] >= 0.5) return "Bright: no factor holds it down.";
  return { A: "Held down by A: it is more of a line than a spot.", B: "Held down by B: it is more of a spot than a line.",
    C: "Held down by C: it is faint beside γ." }[least];
}

function whyTable() {
  const place = element("b"), said = element("span", { textContent: WHY }), status = element("p", {}, place, said);
  status.setAttribute("role", "status");
  const eigen = element("td", { colSpan: 2 }), total = element("output"), cells = {};
  const body = TERMS.map(([name, asks, ratio, formula]) => {
    const value = element("td"), factor = element("output"), bar = element("i");
    cells[name] = { value, factor, bar, ratio };
    return element("tr", {}, element("th", { scope: "row" }, `${name} `, element("small", { textContent: asks })), value,
      element("td", { title: `${ratio} = ${formula}` }, element("span", { className: "ld-meter" }, bar), factor));
  });
  const table = element("table", {}, element("tbody", {},
    element("tr", {}, element("th", { scope: "row", textContent: "λ₁ λ₂ λ₃" }), eigen), ...body,
    element("tr", {}, element("th", { scope: "row", textContent: "A · B · C" }), element("td"), element("td", {}, total))));

  function show(t, values, last) {
    const terms = t?.ra !== undefined;
    place.textContent = t ? `x ${t.x}, y ${t.y}: response ${number(t.response)} at σ ${number(t.sigma_mm)} mm (${number(t.sigma)} px) ` : "";
    said.textContent = t ? verdict(t, values) : WHY;
    eigen.textContent = terms ? t.eigenvalues.map(number).join("   ") : "–";
    total.textContent = terms ? (t.gated ? "0" : number(t.response)) : "–";
    const found = terms ? { A: [t.ra, t.ra_factor, fullA(values)], B: [t.rb, t.rb_factor, 1], C: [t.s, t.structure, 1] } : {};
    for (const [name, { value, factor, bar, ratio }] of Object.entries(cells)) {
      const [measured, made, most] = found[name] ?? [];
      const hu = name === "C" && terms && last?.unit === "HU" ? ` (${number(measured * last.width)} HU)` : "";
      value.textContent = terms ? `${ratio} ${number(measured)}${hu}` : ratio;
      factor.textContent = terms ? number(made) : "–";
      bar.style.width = terms ? `${Math.min(100, 100 * made / most)}%` : "0";
    }
  }
  show(null);
  return { node: element("div", { className: "ld-why" }, status, table), show };
}
