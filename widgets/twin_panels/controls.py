"""Controls built from a parameter model: sliders with typed entry, choices, ticks and texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Generic, TypeVar

import ipywidgets as ipw

from physics_twins.data import in_print
from physics_twins.parameters import FieldDescription, ParameterError, Parameters
from twin_panels.scales import scale_of
from twin_panels.symbols import SYMBOLS

SHOWN = 6  # controls that are not folded away
# As many columns as there is room for: one beside a figure, more above it.
GRID = {
    "display": "grid",
    "grid_template_columns": "repeat(auto-fill, minmax(185px, 1fr))",
    "grid_gap": "0 10px",
}
WRAPPED = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start"}
WHOLE_ROW = {"grid_area": "auto / 1 / auto / -1"}  # the page clears `grid_column` where this is not set
FOLD_HEIGHT = "420px"  # a fold scrolls by itself, so that what is moved stays beside its figure
SLIDER_STEP = 0.005  # less than a pixel; what an arrow key moves

Model = TypeVar("Model", bound=Parameters)


@dataclass
class Control:
    """The control of one parameter.

    Attributes:
        info: What the model says of the parameter.
        entry: The widget that holds the value, in which it can be typed or chosen.
        slider: From 0 to 1, beside a number's entry; None for anything else.
        widget: All of it, with label and unit.
    """

    info: FieldDescription
    entry: Any
    slider: ipw.FloatSlider | None
    widget: ipw.Widget

    @property
    def value(self) -> Any:
        """The value as it stands in the control, allowed or not."""
        return _parsed(self.info, self.entry.value) if self.info.default is None else self.entry.value

    @value.setter
    def value(self, value: Any) -> None:
        self.entry.value = ("" if value is None else str(value)) if self.info.default is None else value


class Controls(Generic[Model]):
    """Controls of the parameters of a model, and the parameters they stand for.

    Setting `controls["dm_pc_cm3"].value` does what a hand does. A value that the model refuses is
    answered by one line beneath the controls; the parameters stay the last valid ones.

    Attributes:
        parameters: The last valid parameters.
        about: What is known of the parameters that have a control, by name.
        ends: Where sliders end, if not where the parameter's range does.
        widget: The controls, one above the other; those not shown at first are in a fold.
    """

    def __init__(
        self,
        start: Model,
        *,
        names: Sequence[str] | None = None,
        ends: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        """Begin with these parameters.

        Args:
            start: The parameters.
            names: Those that get a control; the others stay as they are. All by default.
            ends: Ends of sliders where less than a parameter's range is of interest; other values can
                be typed.
        """
        self.parameters = start
        self._start = self._others = start
        self._callbacks: list[Callable[[Model], None]] = []
        self._hold = False
        self._refusal = ipw.HTML(layout=WHOLE_ROW)
        values, known = start.to_papermill(), start.describe()
        self.about = {name: known[name] for name in names or known}
        self.ends: Mapping[str, tuple[float, float]] = ends or {}
        self._controls = {
            name: control(info, values[name], self.ends.get(name)) for name, info in self.about.items()
        }
        for each in self._controls.values():
            each.entry.observe(self._changed, "value")
        self.widget = self._arranged()

    def __getitem__(self, name: str) -> Control:
        return self._controls[name]

    @property
    def refusal(self) -> str:
        """Why the values now in the controls are refused; "" if they are not."""
        return self._refusal.tooltip or ""

    def observe(self, callback: Callable[[Model], None]) -> None:
        """Call `callback` with the new parameters whenever they change."""
        self._callbacks.append(callback)

    def reset(self) -> None:
        """Go back to the parameters of the beginning."""
        self.set(self._start)

    def set(self, parameters: Model) -> None:
        """Bring all controls to these parameters, as one change."""
        self._hold, self._others = True, parameters
        try:
            values = parameters.to_papermill()
            for name, each in self._controls.items():
                each.value = values[name]
        finally:
            self._hold = False
        self._changed()

    def _changed(self, _: Any = None) -> None:
        if self._hold:
            return
        values = {name: each.value for name, each in self._controls.items()}
        try:
            parameters = type(self.parameters)(**(self._others.model_dump() | values))
        except ParameterError as error:
            self._refuse(str(error))
            return
        self._refuse("")
        if parameters != self.parameters:
            self.parameters = parameters
            for callback in self._callbacks:
                callback(parameters)

    def _refuse(self, reason: str) -> None:
        if reason != self.refusal:
            self._refusal.tooltip = reason
            self._refusal.value = in_red(reason)

    def _arranged(self) -> ipw.Box:
        widgets = {name: each.widget for name, each in self._controls.items()}
        open_names = [name for name, each in self._controls.items() if not each.info.folded][:SHOWN]
        folded = {name: widget for name, widget in widgets.items() if name not in open_names}
        parts = [*(widgets[name] for name in open_names), self._refusal]
        if folded:
            grouped = _in_grid(_with_headings(type(self.parameters), folded))
            grouped.layout.max_height, grouped.layout.overflow = FOLD_HEIGHT, "auto"
            within = ipw.VBox([self._search_among(folded, grouped), grouped])
            parts.append(ipw.Accordion([within], titles=(f"{len(folded)} more",), layout=WHOLE_ROW))
        return _in_grid(parts)

    def _search_among(self, folded: Mapping[str, ipw.Widget], grouped: ipw.Box) -> ipw.Text:
        """Return an entry that leaves those whose name, symbol, unit or words hold its text."""
        search = ipw.Text(
            placeholder="search: word, symbol, name or unit",
            tooltip="Search among the folded parameters",
            layout={"width": "auto"},
        )
        everything = grouped.children

        def show(_: Any) -> None:
            words = search.value.lower().split()
            found = [name for name in folded if all(word in self._said(name) for word in words)]
            grouped.children = [folded[name] for name in found] if words else everything

        search.observe(show, "value")
        return search

    def _said(self, name: str) -> str:
        """Return all by which a parameter may be looked for."""
        info = self.about[name]
        group = _group(type(self.parameters), name)
        said = (name, SYMBOLS.get(name, ""), info.help, info.unit, in_print(info.unit), group)
        return " ".join(said).lower()


def control(info: FieldDescription, value: Any, ends: tuple[float, float] | None = None) -> Control:
    """Return the control that suits a parameter, a slider's ends where they are not its range's."""
    tooltip = f"{info.help} ({info.name}: {info.allowed})"  # it is the entry's name for screen readers
    if info.choices:
        entry = ipw.Dropdown(
            options=info.choices, value=value, tooltip=tooltip, layout={"width": "90px"}
        )
    elif info.default is None:
        entry = ipw.Text("" if value is None else str(value), placeholder="none", tooltip=tooltip)
    elif info.kind is bool:
        entry = ipw.Checkbox(value, indent=False, tooltip=tooltip, layout={"width": "30px"})
    elif info.kind is str:
        entry = ipw.Text(value, tooltip=tooltip, continuous_update=False, layout={"width": "auto"})
    else:
        return _number(info, value, tooltip, ends)
    return Control(info, entry, None, _labelled(info, tooltip, [entry]))


def in_red(sentence: str) -> str:
    """Return HTML of a sentence in the colour of errors; "" for none."""
    style = "color: var(--jp-error-color1, #b00020); line-height: 1.3; overflow-wrap: anywhere"
    return f'<div style="{style}">{escape(sentence)}</div>' if sentence else ""


def _number(
    info: FieldDescription, value: float, tooltip: str, ends: tuple[float, float] | None
) -> Control:
    """Return a slider and an entry that follow each other; the entry holds the value."""
    scale = scale_of(info, ends)
    slider = ipw.FloatSlider(
        value=scale.position(value),
        min=0,
        max=1,
        step=SLIDER_STEP,
        readout=False,
        tooltip=tooltip,
        layout={"flex": "1 1 50px", "min_width": "50px", "width": "auto"},
    )
    kind = ipw.IntText if info.kind is int else ipw.FloatText
    entry = kind(value, tooltip=tooltip, layout={"width": "76px", "flex": "0 0 auto"})
    following = False

    def slid(change: dict[str, Any]) -> None:
        nonlocal following
        # A browser rounds a position to the slider's step and sends it back: that is no hand.
        if not following and abs(change["new"] - scale.position(entry.value)) > SLIDER_STEP / 2 + 1e-9:
            following = True
            number = scale.value(change["new"])
            with entry.hold_sync():  # the figure's frame is sent first
                entry.value = round(number) if info.kind is int else number
            following = False

    def typed(change: dict[str, Any]) -> None:
        nonlocal following
        if not following:
            following = True
            slider.value = scale.position(change["new"])
            following = False

    entry.observe(typed, "value")
    slider.observe(slid, "value")
    unit = ipw.Label(in_print(info.unit), layout={"margin": "0 0 0 2px", "flex": "0 0 auto"})
    return Control(info, entry, slider, _labelled(info, tooltip, [slider, entry, unit]))


def _labelled(info: FieldDescription, tooltip: str, row: list[ipw.Widget]) -> ipw.VBox:
    style = "display: block; line-height: 1.2; margin-top: 6px"
    symbol = SYMBOLS.get(info.name, "")
    written = f" <i>{escape(symbol)}</i>" if symbol else ""
    text = f'<span title="{escape(tooltip)}" style="{style}">{escape(info.help)}{written}</span>'
    label = ipw.HTML(text, layout={"margin": "0 0 0 2px"})
    # Beneath each other in a row of the grid, labels may be of one line or of two.
    layout = {"overflow": "visible", "justify_content": "flex-end", "min_width": "0"}
    return ipw.VBox([label, ipw.HBox(row)], layout=layout).add_class("twin-control")


def _in_grid(widgets: Sequence[ipw.Widget]) -> ipw.Box:
    return ipw.Box(widgets, layout=GRID)


def _with_headings(model: type[Parameters], widgets: Mapping[str, ipw.Widget]) -> list[ipw.Widget]:
    """Return widgets in their order, each group under what the model that declares it is about."""
    groups = {name: _group(model, name) for name in widgets}
    if len(set(groups.values())) == 1:
        return list(widgets.values())
    arranged, last = [], ""
    for name, widget in widgets.items():
        if groups[name] != last:
            last = groups[name]
            style = "font-weight: 600; line-height: 1.3; margin-top: 8px"
            text = f'<div role="heading" aria-level="4" style="{style}">{escape(last)}</div>'
            arranged.append(ipw.HTML(text, layout=WHOLE_ROW))
        arranged.append(widget)
    return arranged


def _group(model: type[Parameters], name: str) -> str:
    """Return what the model is about that declares a field, of those that this one is made of."""
    bases = (base for base in reversed(model.__mro__) if name in getattr(base, "model_fields", {}))
    return (next(bases).__doc__ or "").split("\n")[0].rstrip(".")


def _parsed(info: FieldDescription, text: str) -> Any:
    """Return what an optional parameter's text stands for; the model refuses what is left a text."""
    if not text:
        return None
    try:
        return info.kind(text)
    except ValueError:
        return text
