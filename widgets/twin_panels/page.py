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
if (!window.twinPanelsTheme) {
  window.twinPanelsTheme = new MutationObserver(() => { setTimeout(repaint, 100); });
  window.twinPanelsTheme.observe(document.body, { attributeFilter: ["data-jp-theme-name"] });
}
const name = (panel) => {
  for (const handle of panel.querySelectorAll(".noUi-handle")) {
    const label = handle.closest(".twin-control")?.querySelector(".widget-html")?.textContent.trim();
    if (label) handle.setAttribute("aria-label", label);
  }
};
for (const panel of document.querySelectorAll(".PANEL")) {
  name(panel);
  if (panel.dataset.twinPanel) continue;
  panel.dataset.twinPanel = "ready";
  panel.addEventListener("focusin", () => name(panel));
  panel.addEventListener("keydown", (event) => {
    const undo = event.key == "z" && !event.shiftKey, redo = event.key == "y" || event.key == "Z";
    if (!(event.ctrlKey || event.metaKey) || !(undo || redo) || event.target.type == "text") return;
    panel.querySelector(undo ? ".twin-undo" : ".twin-redo")?.click();
    event.preventDefault();
    event.stopPropagation();
  });
}
""".replace("PANEL", CLASS)


def attach(figure: LayoutDOM) -> None:
    """Let this run where a figure is laid out."""
    plot = next(iter(figure.select({"type": Plot})))
    plot.js_on_change("inner_width", CustomJS(code=CODE))
