// A Bokeh figure in the page: drawn from the whole document, then kept by patches from the kernel.

const PATIENCE_MS = 30_000;
const FRAME_MS = 16;

async function bokeh() {
  for (let waited_ms = 0; !window.Bokeh; waited_ms += 50) {
    if (waited_ms > PATIENCE_MS) throw new Error("Bokeh's scripts are not in this page");
    await new Promise((done) => setTimeout(done, 50));
  }
  return window.Bokeh;
}

// What a reader changes in the page, such as a zoom; together once a frame, only the last of each kind.
function tell_kernel(Bokeh, figure, model) {
  const { Serializer } = Bokeh.require("core/serialization");
  const waiting = new Map();
  const tell = () => {
    const references = new Map([...figure._all_models.values()].map((each) => [each, each.ref()]));
    const events = [...waiting.values()].map((event) => new Serializer({ references }).encode(event));
    waiting.clear();
    model.send({ events });
  };
  figure.on_change((event) => {
    if (event.sync === false || event.kind != "ModelChanged") return;
    if (!waiting.size) setTimeout(tell, FRAME_MS);
    waiting.set(`${event.model.id} ${event.attr}`, event);
  });
}

// A figure may be painted before it is in the page, or before its style is: in Bokeh's own colours.
async function paint_themed(el, figure) {
  for (let waited_ms = 0; waited_ms < PATIENCE_MS && !colours.get(figure).size; waited_ms += 100) {
    if (is_themed(el)) repaint();
    await new Promise((done) => setTimeout(done, 100));
  }
}

function apply(figure, patch, buffers) {
  const { events, ids } = JSON.parse(patch);
  const bytes = buffers.map((view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
  figure.apply_json_patch({ events }, new Map(ids.map((id, n) => [id, bytes[n]])));
}

export default () => {
  let patched = false; // since the model was given the whole document
  return {
    initialize({ model }) {
      model.on("msg:custom", ({ patch }) => (patched ||= patch !== undefined));
      model.on("change:_whole", () => (patched = false));
    },

    async render({ model, el }) {
      const Bokeh = await bokeh();
      spare_work(Bokeh);
      attend_to_page(repaint);
      let figure, views;
      const draw = async () => {
        views?.clear();
        el.replaceChildren();
        figure = Bokeh.require("document").Document.from_json(JSON.parse(model.get("_whole")));
        colours.set(figure, new Map());
        tell_kernel(Bokeh, figure, model);
        views = await Bokeh.require("embed/standalone").add_document_standalone(figure, el);
        paint_themed(el, figure);
        name_controls();
      };
      const follow = ({ patch }, buffers) => {
        if (patch !== undefined) apply(figure, patch, buffers);
      };
      if (patched) {
        const anew = () => {
          model.off("change:_whole", anew);
          draw();
        };
        model.on("change:_whole", anew);
        model.send({ whole: true });
      }
      const drawn = draw();
      model.on("msg:custom", follow);
      await drawn;
      return () => {
        model.off("msg:custom", follow);
        views.clear();
      };
    },
  };
};
