// Names for screen readers. A slider's handle has none of its own, nor has an entry whose label stands
// above it, and a slider says where it stands in units, not from 0 to 1. Folded controls come into the
// page later, and values change, so all is said again when something gets the focus or a key is up.
function name_controls(root = document) {
  for (const control of root.querySelectorAll(".twin-control")) {
    const label = control.querySelector(".widget-html span")?.firstChild?.textContent.trim(); // no symbol
    const entry = control.querySelector("input, select");
    const handle = control.querySelector(".noUi-handle");
    if (!label) continue;
    if (entry && !entry.labels?.[0]?.textContent) entry.setAttribute("aria-label", label);
    if (!handle || !entry) continue;
    const unit = control.querySelector(".widget-inline-hbox.widget-label")?.textContent ?? "";
    handle.setAttribute("aria-label", label);
    handle.setAttribute("aria-valuetext", `${entry.value} ${unit}`.trim());
  }
  for (const entry of root.querySelectorAll(".twin-panel input:not([aria-label]):not([type=file])")) {
    const name = entry.labels?.[0]?.textContent || entry.title;
    if (name) entry.setAttribute("aria-label", name);
  }
}

// The text beside a button that says Copy goes to the clipboard; without one it is selected.
function copy_beside(event) {
  const button = event.target.closest?.(".twin-copy");
  const text = button?.parentElement.querySelector("pre");
  if (!text) return;
  const select = () => window.getSelection().selectAllChildren(text);
  const copied = () => (button.textContent = "Copied");
  navigator.clipboard?.writeText(text.textContent).then(copied, select) ?? select();
}

// Once for a page.
function keep_names() {
  if (window.twin_names) return;
  window.twin_names = true;
  window.addEventListener("click", copy_beside, true);
  const again = (event) => event.target.closest?.(".jupyter-widgets") && setTimeout(name_controls, 300);
  for (const kind of ["focusin", "keyup"]) window.addEventListener(kind, again);
}
