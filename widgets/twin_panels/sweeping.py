"""Which values of one parameter a sweep from a panel takes, and the line that computes them."""

from typing import Any

import ipywidgets as ipw
import numpy as np

from physics_twins.parameters import FieldDescription, ParameterError, Parameters
from twin_panels import batch
from twin_panels.controls import Controls
from twin_panels.scales import scale_of

N_VALUES = 9
MOST_VALUES = 10_000


class SweepChoice:
    """Controls that say what a sweep varies, from where to where, and in how many steps.

    Attributes:
        name: Which parameter.
        low: Its lowest value.
        high: Its highest value.
        n_values: How many values, both ends included.
        widget: All of it.
    """

    def __init__(self, controls: Controls[Any]) -> None:
        """Offer the parameters that have a control."""
        about = controls.about.items()
        self._about = {k: v for k, v in about if v.kind is not str and v.default is not None}
        self._controls, self._last = controls, controls.parameters
        labels = [(f"{info.help} ({name})", name) for name, info in self._about.items()]
        self.name = ipw.Dropdown(
            options=labels,
            tooltip="Parameter that a sweep varies",
            layout={"width": "auto", "max_width": "300px"},
        )
        small = {"width": "84px"}
        self.low = ipw.FloatText(tooltip="Lowest value of the sweep", layout=small)
        self.high = ipw.FloatText(tooltip="Highest value of the sweep", layout=small)
        self.n_values = ipw.IntText(N_VALUES, tooltip="Number of values", layout={"width": "60px"})
        self.name.observe(lambda _: self._take_ends(), "value")
        controls.observe(self._follow)
        self._take_ends()
        between = [self.low, ipw.Label("to"), self.high, ipw.Label("in"), self.n_values]
        self._between = ipw.HBox([*between, ipw.Label("values")])
        self.widget = ipw.VBox([self.name, self._between])

    def line(self, notebook: str, parameters: Parameters) -> str:
        """Return the `twins sweep` line that computes a notebook at the chosen values.

        Raises:
            ParameterError: An end is outside the parameter's range, or there are not two values.
        """
        name = str(self.name.value)
        info = self._about[name]
        if not _is_range(info):
            return batch.sweep_line(notebook, parameters, name, info.choices or (False, True))
        low, high, n_values = self.low.value, self.high.value, self.n_values.value
        if not 2 <= n_values <= MOST_VALUES:
            raise ParameterError(f"{n_values} values of {name}: give 2 to {MOST_VALUES}")
        if not low < high:
            raise ParameterError(f"{name} from {low:g} to {high:g}: the second must be the higher one")
        if info.logarithmic and low <= 0:
            raise ParameterError(
                f"{name} from {low:g}: it is varied in factors, which begin above 0; raise the lowest"
            )
        for end in (low, high):
            parameters.replace(**{name: info.kind(end)})
        return batch.sweep_line(notebook, parameters, name, f"{low:g}:{high:g}:{n_values}")

    def _follow(self, parameters: Parameters) -> None:
        """Offer what a hand has moved, around where it stands now."""
        before, now = self._last.to_papermill(), parameters.to_papermill()
        moved = [name for name in self._about if now[name] != before[name]]
        self._last = parameters
        if len(moved) == 1 and self.name.value != moved[0]:
            self.name.value = moved[0]
        elif self.name.value in moved:
            self._take_ends()

    def _take_ends(self) -> None:
        """Offer half to twice what the parameter is; from zero on, half of its slider."""
        info = self._about[str(self.name.value)]
        if _is_range(info):
            scale = scale_of(info, self._controls.ends.get(info.name))
            here = self._controls.parameters.to_papermill()[info.name]
            ends = sorted((here / 2, 2 * here)) if here else (scale.value(0.0), scale.value(0.5))
            if info.kind is int:
                ends = tuple(map(round, ends))
            self.low.value, self.high.value = (
                float(np.clip(end, scale.low, scale.high)) for end in ends
            )
        for each in (self.low, self.high, self.n_values):
            each.disabled = not _is_range(info)


def _is_range(info: FieldDescription) -> bool:
    return info.kind in (int, float) and not info.choices
