"""A file of measured data behind a panel's sliders: fitted by hand, handed on to the calibration."""

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import ipywidgets as ipw

from twin_panels.controls import Model
from twin_panels.handover import button
from twin_panels.panel import Panel

CALIBRATE = "Calibrate from here"

Measured = TypeVar("Measured")


class MeasuringPanel(Panel[Model], Generic[Model, Measured]):
    """A panel that takes a file of measured data, by `take` or *Load*.

    A twin's panel says what a file holds, which line calibrates on it, and what is drawn of it.

    Attributes:
        measured: What stands behind the sliders; None for nothing.
        without: What is written on the button that lets it go.
    """

    without: ClassVar[str]
    measured: Measured | None = None

    @abstractmethod
    def read(self, path: Path) -> tuple[Measured, Model, str]:
        """Return what a file holds, the parameters at which it is shown first, and a sentence.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is damaged, of no known format, or nothing that these parameters can be.
        """

    @abstractmethod
    def stands(self) -> None:
        """Let the figure tell that what is measured stands behind the sliders, or no longer does."""

    @abstractmethod
    def calibrating(self, measured: Measured) -> str:
        """Return the command that calibrates on what is measured, from these parameters.

        Raises:
            ValueError: It cannot be calibrated on; the message says why.
        """

    def extras(self) -> dict[str, ipw.Button]:
        """Return what leads from measured data to their calibration, and back; hidden without them."""
        told = "Show the command that calibrates the twin on the loaded file, from these parameters"
        onward = button(CALIBRATE, told, "crosshairs")
        back = button(self.without, "Let the loaded file go", "arrow-left")
        onward.on_click(lambda _: self._calibrate())
        back.on_click(lambda _: self.let_go())
        for each in (onward, back):
            each.disabled, each.layout.display = True, "none"
        return {CALIBRATE: onward, self.without: back}

    def takes(self) -> Callable[[Path], str] | None:
        """Return what takes a file of measured data."""
        return self.take

    def take(self, path: str | Path) -> str:
        """Put a file of measured data behind the sliders; what stands there stays if it is refused.

        Returns:
            What was found, in a sentence.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is damaged, of no known format, or nothing that these parameters can be.
        """
        measured, parameters, told = self.read(Path(path).expanduser().absolute())
        self._stand(measured, parameters)
        return told

    def let_go(self) -> None:
        """Let what was measured go."""
        self._stand(None, self.parameters)

    def _stand(self, measured: Measured | None, parameters: Model) -> None:
        self.measured = measured
        for name in (CALIBRATE, self.without):
            self.buttons[name].disabled = measured is None
            self.buttons[name].layout.display = "none" if measured is None else ""
        self.stands()
        self.controls.set(parameters)
        self.update(self.parameters)

    def _calibrate(self) -> None:
        measured = self.measured
        if measured is not None:
            told = "The twin is calibrated on the file, from these parameters:"
            self.handover.offer(told, lambda: self.calibrating(measured))
