// What a panel needs of the page around it: keys, the theme, names for screen readers.

const PANEL = ".twin-panel";

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

// By the value's fourth digit, which the slider is too coarse for.
function move_finely(handle, steps) {
  const entry = handle.closest(".twin-control")?.querySelector("input[type=number]");
  if (!entry) return;
  const value = Number(entry.value);
  const digit = 10 ** (Math.floor(Math.log10(Math.abs(value) || 1)) - 3);
  const step = entry.step == "any" ? digit : Math.max(1, Math.round(digit));
  entry.value = Number((value + steps * step).toPrecision(6));
  entry.dispatchEvent(new Event("change", { bubbles: true }));
}

function move_slider(event) {
  const slider = event.target.closest?.(`${PANEL} .noUi-target`)?.noUiSlider;
  if (!slider || !(event.key in STEPS)) return;
  if (event.shiftKey) move_finely(event.target, STEPS[event.key]);
  else slider.set(Number(slider.get(true)) + STEPS[event.key] * slider.options.step);
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
  keep_names();
}
