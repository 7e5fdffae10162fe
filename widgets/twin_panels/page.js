// What a panel needs of the page around it: names for screen readers, keys, the theme.

const PANEL = ".twin-panel";

// A slider's handle has no name of its own; folded controls come into the page later, so names are given
// again when something gets the focus.
function name_handles(panel) {
  for (const handle of panel.querySelectorAll(".noUi-handle")) {
    const label = handle.closest(".twin-control")?.querySelector(".widget-html")?.textContent.trim();
    if (label) handle.setAttribute("aria-label", label);
  }
}

function undo_or_redo(event) {
  const undo = event.key == "z" && !event.shiftKey;
  const redo = event.key == "y" || (event.key == "Z" && event.shiftKey);
  const panel = event.target.closest?.(PANEL);
  if (!panel || !(event.ctrlKey || event.metaKey) || !(undo || redo)) return;
  if (event.target.type == "text") return; // a text is undone letter by letter
  panel.querySelector(undo ? ".twin-undo" : ".twin-redo")?.click();
  event.preventDefault();
  event.stopPropagation();
}

const STEPS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };

function move_slider(event) {
  const slider = event.target.closest?.(`${PANEL} .noUi-target`)?.noUiSlider;
  if (!slider || !(event.key in STEPS)) return;
  slider.set(Number(slider.get(true)) + STEPS[event.key] * slider.options.step);
  event.preventDefault();
  event.stopPropagation();
}

// Once for a page, whatever number of panels is in it.
function attend_to_page(on_theme) {
  if (window.twin_panels) return;
  window.twin_panels = new MutationObserver(() => setTimeout(on_theme, 100));
  window.twin_panels.observe(document.body, { attributeFilter: ["data-jp-theme-name"] });
  // Before the lab's own shortcuts, which take arrows and Ctrl+Z for cells.
  for (const answer of [undo_or_redo, move_slider]) window.addEventListener("keydown", answer, true);
  window.addEventListener("focusin", (event) => {
    const panel = event.target.closest?.(PANEL);
    if (panel) name_handles(panel);
  });
}
