// The sliders: a name in plain words, the formula below it, and what it comes to at these values.
const SLIDERS = [
  ["alpha", "α · favours spots over lines", 0.05, 3, 0.05],
  ["beta", "β · lets round spots through", 0.05, 2, 0.05],
  ["gamma", "γ · how strong a structure must be", 0.002, 0.3, 0.001],
  ["rho", "ρ · the printed formula (0) to contours (1)", 0, 1, 0.01],
  ["sigma_from", "σ from · finest structure", 0.4, 9, 0.2],
  ["sigma_to", "σ to · broadest structure", 0.6, 12, 0.2],
  ["sigma_step", "σ step · how many sizes between", 0.1, 2, 0.1],
];
const HALF = Math.sqrt(2 * Math.log(2));  // C is one half at S = HALF · γ
const DISC = 2 * Math.SQRT2;  // a disc that is DISC · σ wide answers strongest at σ

function sliderGrid(values, moved) {
  const grid = element("div", { className: "ld-sliders" }), rows = {};
  for (const [name, title, min, max, step] of SLIDERS) {
    const input = element("input", { type: "range", min, max, step, value: values[name], id: `ld-${name}-${Math.random().toString(36).slice(2)}` });
    const small = element("small"), output = element("output");
    rows[name] = { input, output, small };
    input.dataset.name = name;
    input.oninput = () => { values[name] = Number(input.value); moved(name); };
    grid.append(element("label", { htmlFor: input.id }, title, small), input, output);
  }
  return { grid, rows };
}

// What A is at its most: where R_A is 1.
const fullA = (values) => (values.normalise ? 1 : 1 - Math.exp(-1 / (2 * values.alpha ** 2)));

function hintsOf(values, last) {
  const { formula, rho } = values, audit = formula === "skimage", plain = formula === "promotion" || formula === "strict";
  const A = "A = 1 − exp(−R_A²/2α²)", B = "B = exp(−R_B²/2β²)", C = "C = 1 − exp(−S²/2γ²)", r = number(rho);
  const gamma = values.gamma_auto ? last?.gamma : values.gamma, unit = last?.unit === "HU" ? " HU" : "";
  const size = (px) => (last ? `${(px * last.px_mm).toFixed(1)} mm; a disc ${(DISC * px * last.px_mm).toFixed(1)} mm wide` : "");
  const hints = {
    alpha: A, beta: B, gamma: C, rho: "raises λ₁, λ₂ towards the next larger eigenvalue",
    sigma_from: size(values.sigma_from), sigma_to: size(values.sigma_to),
    sigma_step: last ? `${last.sigmas.length} scale${last.sigmas.length > 1 ? "s" : ""}` : "",
  };
  if (plain) {
    hints.alpha += rho === 1
      ? (values.normalise ? "; at ρ = 1 without effect" : `; at ρ = 1 only a gain: A is ${number(fullA(values))}`)
      : `; R_A ${r} on a line, 1 on a spot`;
    hints.beta += rho === 0 ? "; at ρ = 0 without effect on a slice" : `; R_B 0 on a line, ${r} on a spot`;
  } else {
    hints.rho = "not used by this formula";
    if (audit) hints.alpha = "not used by scikit-image on a slice";
  }
  if (gamma && last) hints.gamma += `; C is ½ at S = ${number(HALF * gamma * last.width)}${unit}`;
  if (values.sigmas?.length) hints.sigma_step = `${values.sigmas.length} single scales: ${values.sigmas.map(number).join(", ")}`;
  return hints;
}
