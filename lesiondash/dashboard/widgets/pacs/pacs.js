// PACS: a server, whose scans, a list that names nobody, and one series at a time fetched from it.
function field(label, properties) {
  const input = element("input", { type: "text", autocomplete: "off", spellcheck: false, ...properties });
  return [input, element("label", {}, element("span", { textContent: label }), input)];
}
const when = (days) => (days === null ? "undated" : days === 0 ? "first day" : `${days} day${days === 1 ? "" : "s"} later`);

function render({ model, el }) {
  el.classList.add("ld-pacs");
  const [url, urlLabel] = field("Server", { placeholder: "http://host/dicom-web" });
  const [user, userLabel] = field("User");
  const [password, passwordLabel] = field("Password", { type: "password", autocomplete: "new-password" });
  const [title, titleLabel] = field("Our AE title", { value: "LESIONDASH", maxLength: 16 });
  const [port, portLabel] = field("Port to receive on", { type: "number", min: 1, max: 65535, placeholder: "C-GET" });
  const [patient, patientLabel] = field("Patient ID");
  const [accession, accessionLabel] = field("Accession number");
  const [modality, modalityLabel] = field("Modality", { placeholder: "any", size: 4 });
  url.title = "DICOMweb: http://host/dicom-web · DIMSE: dicom://AETITLE@host:port (dicoms with TLS)";
  port.title = "Where given, images are fetched by C-MOVE to this port; the server must know our AE title there";
  const search = element("button", { className: "ld-btn", type: "submit", textContent: "Search" });
  const stop = element("button", { className: "ld-btn", type: "button", textContent: "Stop", onclick: () => model.send({ type: "stop" }) });
  const bar = element("progress"), status = element("span"), list = element("div", { className: "ld-found" });
  status.setAttribute("role", "status");
  bar.setAttribute("aria-label", "images fetched");
  const warning = element("p", { className: "ld-warning", textContent: "This address is not encrypted: user and password can be read on the way. Use https where the server has it." });
  warning.setAttribute("aria-live", "polite");
  const server = element("div", { className: "ld-fields" }, urlLabel, userLabel, passwordLabel, titleLabel, portLabel);
  const form = element("form", {}, server, warning, element("div", { className: "ld-fields" }, patientLabel, accessionLabel, modalityLabel, search));
  const details = element("details", {}, element("summary", { textContent: "From a PACS" }), form,
    element("div", { className: "ld-foot" }, bar, status, stop), list);
  el.append(details);

  const typed = () => ({
    url: url.value, user: user.value, password: password.value, ae_title: title.value, move_port: port.value ? Number(port.value) : null,
  });
  form.onsubmit = (event) => {
    event.preventDefault();
    if (!model.get("running")) model.send({ type: "search", server: typed(), patient_id: patient.value, accession_number: accession.value, modality: modality.value });
  };
  // What is web and what is DIMSE: only the fields that the server's kind has a use for.
  const showFields = () => {
    server.hidden = model.get("given");
    const dimse = url.value.trim().startsWith("dicom");
    titleLabel.hidden = portLabel.hidden = !dimse;
    userLabel.hidden = passwordLabel.hidden = dimse;
    const open = /^http:\/\/(?!(localhost|127\.[\d.]+|\[::1\])(:|\/|$))/i.test(url.value.trim());
    warning.hidden = server.hidden || !open || !(user.value || password.value);
  };
  for (const input of [url, user, password]) input.oninput = showFields;
  const showRunning = () => {
    const running = model.get("running"), [done, total] = model.get("progress");
    // Not `disabled`: a button that has the focus would lose it, and with it the place of who uses the keyboard.
    for (const button of [search, ...list.querySelectorAll("button")]) button.setAttribute("aria-disabled", Boolean(running));
    stop.hidden = bar.hidden = !running;
    if (running === "fetch" && total) { bar.max = total; bar.value = done; } else bar.removeAttribute("value");
    status.textContent = running === "search" ? "Searching …"
      : running === "fetch" ? `${done}${total ? ` of ${total}` : ""} images` : model.get("status");
  };
  const fetchOne = (uid) => { if (!model.get("running")) model.send({ type: "fetch", uid }); };
  const showFound = () => {
    list.replaceChildren(...model.get("found").map((row) => {
      const words = [row.modality || "unknown kind", row.body_part.toLowerCase(), row.number === null ? "" : `series ${row.number}`].filter(Boolean);
      const count = row.instances ? `${row.instances} image${row.instances === 1 ? "" : "s"}` : "images not counted";
      const button = element("button", { className: "ld-item", type: "button", onclick: () => fetchOne(row.uid) },
        element("span", {}, words.join(" · "), element("small", { textContent: `study ${row.study}, ${when(row.days)} · ${count}` })));
      button.setAttribute("aria-label", `Fetch ${words.join(", ")}, study ${row.study}, ${count}`);
      return button;
    }));
    showRunning();
  };
  model.on("change:given", showFields);
  model.on("change:running change:progress change:status", showRunning);
  model.on("change:found", showFound);
  showFields(); showFound();
}

export default { render };
