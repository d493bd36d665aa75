// What every widget is built with; written above each one's own code, since a widget is one module.
function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

async function copyText(text) {
  try { await navigator.clipboard.writeText(text); return true; } catch { /* refused, or no secure page: the older way */ }
  const area = element("textarea", { value: text, style: "position:fixed;opacity:0" });
  // A dialog lets nothing outside of it be selected.
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

// A select with a name that is read aloud; options are [value, text].
function choice(label, options, value = options[0]?.[0]) {
  const select = element("select", {}, ...options.map(([name, text]) => element("option", { value: name, textContent: text })));
  select.setAttribute("aria-label", label);
  if (value !== undefined) select.value = value;
  return select;
}

// Hand a file to the person at the browser.
function saveFile(name, content, type) {
  const link = element("a", { href: URL.createObjectURL(new Blob([content], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
