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
