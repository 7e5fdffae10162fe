"""What a panel needs of the page around it: names for screen readers, keys, the theme.

It runs in the browser when a figure is laid out, by Bokeh's own callbacks.
"""

from bokeh.models import CustomJS, LayoutDOM, Plot

from twin_panels.theme import CLASS

# A slider's handle has no name of its own; folded controls come into the page later, so names are
# given again when something gets the focus. A canvas keeps its colours until it is painted again.
CODE = """
const repaint = () => {
  for (const view of Bokeh.index.query((v) => typeof v.request_repaint == "function")) {
    view.request_repaint();
  }
};
const name = (panel) => {
  for (const handle of panel.querySelectorAll(".noUi-handle")) {
    const label = handle.closest(".twin-control")?.querySelector(".widget-html")?.textContent.trim();
    if (label) handle.setAttribute("aria-label", label);
  }
};
const pressed = (event) => {
  const undo = event.key == "z" && !event.shiftKey;
  const redo = event.key == "y" || (event.key == "Z" && event.shiftKey);
  const panel = event.target.closest?.(".PANEL");
  if (!panel || !(event.ctrlKey || event.metaKey) || !(undo || redo)) return;
  if (event.target.type == "text") return;  // a text is undone letter by letter
  panel.querySelector(undo ? ".twin-undo" : ".twin-redo")?.click();
  event.preventDefault();
  event.stopPropagation();
};
const moves = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
const moved = (event) => {
  const slider = event.target.closest?.(".PANEL .noUi-target")?.noUiSlider;
  if (!slider || !(event.key in moves)) return;
  slider.set(Number(slider.get(true)) + moves[event.key] * slider.options.step);
  event.preventDefault();
  event.stopPropagation();
};
document.querySelectorAll(".PANEL").forEach(name);
if (!window.twinPanels) {
  window.twinPanels = new MutationObserver(() => { setTimeout(repaint, 100); });
  window.twinPanels.observe(document.body, { attributeFilter: ["data-jp-theme-name"] });
  // Before the lab's own shortcuts, which take arrows and Ctrl+Z for cells.
  for (const answer of [pressed, moved]) window.addEventListener("keydown", answer, true);
  window.addEventListener("focusin", (event) => {
    const panel = event.target.closest?.(".PANEL");
    if (panel) name(panel);
  });
}
""".replace("PANEL", CLASS)


def attach(figure: LayoutDOM) -> None:
    """Let this run where a figure is laid out."""
    plot = next(iter(figure.select({"type": Plot})))
    plot.js_on_change("inner_width", CustomJS(code=CODE))
