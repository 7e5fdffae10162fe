// Bokeh works out more at each paint than a panel needs; what it would find again is left out here.
//
// All of it touches what Bokeh keeps to itself, so that each part is left alone where Bokeh has changed.

const colours = new WeakMap(); // by document: the colours that the theme gives, by name

const is_themed = (el) => getComputedStyle(el).getPropertyValue("--bk-border-fill-color") !== "";

function spare_work(Bokeh) {
  if (Bokeh.twin_panels_spares) return;
  Bokeh.twin_panels_spares = true;
  const { InlineStyleSheet } = Bokeh.require("core/dom");
  const { VisualProperties } = Bokeh.require("core/visuals/visual");
  const { GlyphRendererView } = Bokeh.require("models/renderers/glyph_renderer");

  // A style sheet is written though it says the same: the browser works out the styles of the whole page.
  instead(InlineStyleSheet, "_update", (original) => function (css) {
    if (this.el.textContent != css) original.call(this, css);
  });
  // So it is for the place of an element that holds nothing: glyphs are painted on the canvas.
  instead(GlyphRendererView, "update_position", () => () => {});
  // A thousand times a paint the page is asked for colours that change with the theme alone.
  instead(VisualProperties, "_get_css_value", (original) => function (name) {
    const known = colours.get(this.obj.model.document);
    if (!known?.size && !(known && is_themed(this.obj.el))) return original.call(this, name);
    const whole = this.css_prefix + name;
    if (!known.has(whole)) known.set(whole, original.call(this, name));
    return known.get(whole);
  });
}

function instead({ prototype }, name, made) {
  if (prototype[name]) prototype[name] = made(prototype[name]);
}

// Colours are asked for again, and shown, by all panels of the page.
function repaint() {
  for (const view of window.Bokeh.index.query((each) => typeof each.request_repaint == "function")) {
    colours.get(view.model.document)?.clear();
    view.request_repaint();
  }
}
