// Draws the picture that a live panel has left, where Bokeh is there and the panel is not: at once on a
// page, and in a lab when its kernel has forgotten the panel; the sentence that says so goes.
((name, item) => {
  const begun = Date.now();
  const look = () => {
    const place = document.getElementById(name);
    const outputs = place?.closest(".lm-Widget.jp-OutputArea");
    const others = [...(outputs?.querySelectorAll(".jp-OutputArea-child") ?? [])].filter(
      (each) => !each.contains(place),
    );
    if (place && others.some((each) => each.querySelector(".twin-panel"))) return;
    const broken = others.find((each) => /model not found|^Loading widget/.test(each.textContent));
    const is_gone = /not found/.test(broken?.textContent) || !others.length || Date.now() - begun > 120_000;
    if (!place || !window.Bokeh || (outputs && !is_gone)) return void setTimeout(look, 200);
    broken?.style.setProperty("display", "none");
    Bokeh.embed.embed_item(item());
  };
  setTimeout(look, document.querySelector(".lm-Widget") ? 1000 : 0); // the panel comes after its picture
})