// On a narrow screen: figures take the column's width, those side by side stand one beneath the other,
// and formulas become smaller.
(() => {
  const SMALLEST = 0.6; // of a formula's size; what is still wider is scrolled
  const MARGINS = 20; // left and right of a figure
  const own = new Map();

  function fit_figures(column) {
    const models = (window.Bokeh?.documents ?? []).flatMap((each) => [...each._all_models.values()]);
    for (const model of models) {
      if (model.type == "GridPlot" && model.children.some(([, , number]) => number > 0)) {
        const width = model.children.reduce((sum, [figure]) => sum + figure.width, 0);
        if (width > column) model.children = model.children.map(([figure], row) => [figure, row, 0]);
      }
      if (model.type == "Row" && model.min_width > column) model.min_width = 0;
      if (model.type != "Figure" || !model.width) continue;
      if (!own.has(model)) own.set(model, model.width);
      const width = Math.min(own.get(model), column);
      if (model.width != width) model.width = width;
    }
  }

  function fit_formulas() {
    const drawn = "mjx-container[display=true], .pst-scrollable-table-container:has(mjx-container)";
    for (const place of document.querySelectorAll(drawn)) {
      const share = place.clientWidth / place.scrollWidth;
      const sized = place.closest("div.math") ?? place; // MathJax has a size of its own
      if (share < 1 && !sized.style.fontSize)
        sized.style.fontSize = `${Math.max(SMALLEST, 0.97 * share)}em`;
    }
  }

  function fit() {
    const article = document.querySelector("article");
    if (!article || window.innerWidth > 800) return;
    const { paddingLeft, paddingRight } = getComputedStyle(article);
    fit_figures(article.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight) - MARGINS);
    fit_formulas();
  }

  let n_left = 60; // figures and formulas come one after the other
  const timer = setInterval(() => (fit(), --n_left || clearInterval(timer)), 250);
  window.addEventListener("resize", fit);
})();
