"""The command line of a run, and of a sweep around it, to be copied."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets as ipw

from physics_twins.parameters import FieldDescription
from physics_twins.runs import Notebook
from twin_panels import run_process
from twin_panels.batch import twins
from twin_panels.handover import to_copy

N_POINTS = 5


class Commands:
    """Both commands as texts, and the choice of what the sweep varies.

    Attributes:
        run: What runs the notebook in a terminal.
        sweep: What runs it at several values of one parameter.
        over: The parameter that is varied.
        widget: All of it, in a fold.
    """

    def __init__(self, notebook: Notebook, name: str, numbers: Sequence[str]) -> None:
        """Begin with empty commands.

        Args:
            notebook: What is run.
            name: How it is called on the command line.
            numbers: Parameters that a sweep may vary.
        """
        self.run = self.sweep = ""
        self._notebook, self._name = notebook, name
        self._values: Mapping[str, Any] = {}
        self.over = ipw.Dropdown(
            options=list(numbers),
            description="Sweep over",
            style={"description_width": "initial"},
            layout={"width": "auto", "min_width": "240px"},
        )
        self.over.observe(lambda _: self.show(self._values), "value")
        self._run_text, self._sweep_text = ipw.HTML(), ipw.HTML()
        inside = ipw.VBox([self._run_text, self.over, self._sweep_text])
        self.widget = ipw.Accordion([inside], titles=("Run as batch: commands to copy",))

    def show(self, values: Mapping[str, Any]) -> None:
        """Show the commands for these values."""
        self._values = values
        try:
            words = run_process.words(self._notebook, values)
        except ValueError as error:
            self._run_text.value = escape(str(error))
            return
        self.run = twins("run", self._name, *words)
        over = str(self.over.value)
        fixed = run_process.words(self._notebook, {**values, over: self._notebook.defaults[over]})
        axis = _axis(self._notebook.fields[over], values[over])
        self.sweep = twins("sweep", self._name, *fixed, "--grid", axis)
        self._run_text.value = to_copy("In a terminal:", self.run)
        self._sweep_text.value = to_copy(f"At {N_POINTS} values of {over}:", self.sweep)


def _axis(info: FieldDescription, value: float) -> str:
    """Return even steps from half to twice a value, within the parameter's range."""
    low, high = sorted((value / 2, value * 2)) if value else (0.0, 1.0)
    low = low if info.minimum is None else max(low, info.minimum)
    high = high if info.maximum is None else min(high, info.maximum)
    if info.kind is int:
        low, high = round(low), max(round(high), round(low) + N_POINTS - 1)
    return f"{info.name}={low:.10g}:{high:.10g}:{N_POINTS}"
