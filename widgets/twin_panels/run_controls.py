"""Controls of all parameters of a notebook, checked with every key that is typed."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as ipw

from physics_twins.parameters import Execution, Parameters
from physics_twins.runs import Notebook
from twin_panels.controls import Control, control


class RunControls:
    """Controls of a notebook's parameters: those of its parameters cell, the others in folds.

    A fold's controls are made when it is opened: some notebooks have seventy parameters.
    Setting `controls["length_m"].value` does what a hand does.

    Attributes:
        refusal: Why the values are refused, in one sentence; "" if they are not.
        widget: The controls, one above the other.
    """

    def __init__(self, notebook: Notebook, values: Mapping[str, Any]) -> None:
        """Begin with the notebook's defaults and these values before them.

        Args:
            notebook: As from `runs.notebook`.
            values: Parameters by name.
        """
        self._notebook, self._fields = notebook, notebook.fields
        self._others = {**notebook.defaults, **values}
        self._callbacks: list[Callable[[], None]] = []
        self._hold = False
        self._controls: dict[str, Control] = {}
        shown = [name for name in notebook.in_cell if name not in (*Execution.HOW, "seed")]
        for name in (*shown, "seed"):
            self._make(name)
        self._folded = {m: self._rest(m) for m in notebook.models if m is not Execution}
        self._folded = {model: names for model, names in self._folded.items() if names}
        self.refusal = ""
        self._check()
        self.widget = self._arranged()

    def __getitem__(self, name: str) -> Control:
        """Return the control of a parameter, made when it is not there yet."""
        if name not in self._controls:
            model = next(m for m, names in self._folded.items() if name in names)
            self._open(list(self._folded).index(model))
        return self._controls[name]

    @property
    def values(self) -> dict[str, Any]:
        """All values as they stand in the controls, allowed or not, but for `Execution.HOW`."""
        typed = {name: each.value for name, each in self._controls.items()}
        return {k: v for k, v in {**self._others, **typed}.items() if k not in Execution.HOW}

    @property
    def numbers(self) -> list[str]:
        """Names of the numbers that are shown, the seed last."""
        infos = [self._fields[name] for name in self._controls]
        numbers = [each for each in infos if each.kind in (int, float) and not each.choices]
        return [each.name for each in numbers if each.default is not None]

    def observe(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a value has changed, whether it is allowed or not."""
        self._callbacks.append(callback)

    def set(self, values: Mapping[str, Any]) -> None:
        """Bring all controls to these values, as one change; names that are unknown are left out."""
        self._hold = True
        try:
            self._others |= {k: v for k, v in values.items() if k in self._others}
            for name, each in self._controls.items():
                each.value = self._others[name]
        finally:
            self._hold = False
        self._changed()

    def _make(self, name: str) -> None:
        made = control(self._fields[name], self._others[name])
        if made.entry.has_trait("continuous_update"):
            made.entry.continuous_update = True  # a bad value is refused before Enter
        # A screen reader finds the label in the input's own row; the eye finds it above.
        made.entry.description = " ".join(filter(None, (made.info.help, made.info.unit)))
        made.entry.style.description_width = "0px"
        made.entry.observe(self._changed, "value")
        self._controls[name] = made

    def _changed(self, _: Any = None) -> None:
        if not self._hold:
            self._check()
            for callback in self._callbacks:
                callback()

    def _check(self) -> None:
        try:
            self._notebook.check(self.values)
        except ValueError as error:
            self.refusal = str(error)
        else:
            self.refusal = ""

    def _rest(self, model: type[Parameters]) -> list[str]:
        return [name for name in model.model_fields if name not in self._controls]

    def _arranged(self) -> ipw.VBox:
        parts = [each.widget for each in self._controls.values()]
        titles = [f"{_subject(model)}: {len(names)} more" for model, names in self._folded.items()]
        self._fold = ipw.Accordion([ipw.VBox() for _ in titles], titles=titles)
        self._fold.observe(lambda change: self._open(change["new"]), "selected_index")
        return ipw.VBox([*parts, *([self._fold] if titles else [])], layout={"width": "310px"})

    def _open(self, index: int | None) -> None:
        """Make the controls in a fold, if that has not been done."""
        if index is None:
            return
        box, names = self._fold.children[index], list(self._folded.values())[index]
        if not box.children:
            for name in names:
                self._make(name)
            box.children = [self._controls[name].widget for name in names]


def _subject(model: type[Parameters]) -> str:
    """Return what a model is about, from its name: `TwinSearchParameters` is "Twin search"."""
    words = re.findall(r"[A-Z][a-z0-9]*", model.__name__.removesuffix("Parameters"))
    return " ".join(words).capitalize()
