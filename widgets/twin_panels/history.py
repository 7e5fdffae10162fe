"""Parameters that a panel went through, to be undone and redone; a drag counts as one step."""

import time
from collections.abc import Callable
from typing import Generic

from twin_panels.controls import Model

DRAG_S = 0.6  # changes of the same parameters that follow each other within this are one step


class History(Generic[Model]):
    """Where a hand has been: one step back, and forward again until something new is done.

    Attributes:
        here: The newest parameters that were recorded or gone to.
    """

    def __init__(
        self, start: Model, *, drag_s: float = DRAG_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with these parameters.

        Args:
            start: The parameters.
            drag_s: Time between two changes of the same parameters that are one step.
            clock: Tells the time in s.
        """
        self.here = start
        self._drag_s, self._clock = drag_s, clock
        self._before: list[Model] = []
        self._after: list[Model] = []
        self._moving: tuple[set[str], float] = (set(), 0.0)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._before)

    @property
    def can_redo(self) -> bool:
        """Whether an undone step can be done again."""
        return bool(self._after)

    def record(self, parameters: Model) -> bool:
        """Note a change, and return whether it begins a step; one that ends where we are is none."""
        if parameters == self.here:
            return False
        moved, now = _differing(self.here, parameters), self._clock()
        names, when = self._moving
        is_drag = moved == names and now - when <= self._drag_s and bool(self._before)
        # A way back to where the drag began is a step of its own: a reset can be undone.
        begins = not is_drag or parameters == self._before[-1]
        if begins:
            self._before.append(self.here)
        self._moving = moved, now
        self._after.clear()
        self.here = parameters
        return begins

    def rest(self) -> None:
        """Count the time to the next change from now: what a frame takes does not end a drag."""
        self._moving = self._moving[0], self._clock()

    def undo(self) -> Model:
        """Go one step back, and return where that is; stay where there is none."""
        return self._step(self._before, self._after)

    def redo(self) -> Model:
        """Do an undone step again, and return where that leads; stay where there is none."""
        return self._step(self._after, self._before)

    def _step(self, source: list[Model], target: list[Model]) -> Model:
        if source:
            target.append(self.here)
            self.here = source.pop()
            self._moving = set(), 0.0
        return self.here


def _differing(one: Model, other: Model) -> set[str]:
    values = other.to_papermill()
    return {name for name, value in one.to_papermill().items() if value != values[name]}
