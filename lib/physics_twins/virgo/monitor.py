"""Follow a stream of strain with a calibrated twin, and call when a coupling has changed.

Each part of some seconds tells the gain of every coupling by itself: least squares of the whitened
strain on all inputs behind their filters, so that a channel that stays right cannot call. Page's test
adds up what parts say (`twin.drift`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import signal

from physics_twins.data import Estimate
from physics_twins.twin import Evidence, Number, TwinState, Watch
from physics_twins.virgo import cleaning
from physics_twins.virgo.cleaning import Wiener
from physics_twins.virgo.jumps import whitener
from physics_twins.virgo.parameters import MonitorParameters

Series = NDArray[np.floating]

_MOST_SHIFT = 2.0  # a change that moves a part by more is looked for as if it moved it by so many
_EDGE_S = 2.0
MIN_QUIET = 8


@dataclass(frozen=True)
class Gains:
    """What a part says of each coupling.

    Attributes:
        gain: Less 1, shape (input,).
        information: Inverse of its covariance, shape (input, input).
    """

    gain: Series
    information: Series


class Monitor(Watch[Gains]):
    """Watches stretches of strain with their witnesses; a frame is a part of `part_s`."""

    frame_word = "Part"

    def __init__(
        self,
        wiener: Wiener,
        state: TwinState,
        quiet: xr.Dataset,
        *,
        settings: MonitorParameters | None = None,
    ) -> None:
        """Learn from a quiet stretch what is normal.

        Args:
            wiener: The filters of the calibration.
            state: The calibrated state.
            quiet: A stretch in which nothing changes, best another than the calibration's.
            settings: Changes to look for, and the alarm's threshold.

        Raises:
            ValueError: The quiet stretch is too short.
        """
        self.settings = settings or MonitorParameters()
        self._wiener, self._whitener = wiener, whitener(wiener)
        self._names = [wiener.inputs[n] for n in wiener.used]
        seen = [self._gains(part) for part in self.frames(quiet)]
        if len(seen) < MIN_QUIET:
            raise ValueError(
                f"{len(seen)} quiet parts of {self.settings.part_s:g} s are too few to know what is"
                f" normal: {MIN_QUIET} are needed"
            )
        gains = np.stack([each.gain for each in seen])
        self._normal, self._scatter = gains.mean(axis=0), gains.std(axis=0, ddof=1)
        numbers = {
            name: Number(len(seen), self.settings.gain_change / scatter, at_most=_MOST_SHIFT)
            for name, scatter in zip(self._names, self._scatter, strict=True)
        }
        super().__init__(state, numbers, alarm_threshold=self.settings.alarm_threshold)

    def frames(self, stream: xr.Dataset) -> Iterator[xr.Dataset]:
        """Yield the whitened inputs and strain of a stretch part by part."""
        rate_hz = self._wiener.sample_rate_hz
        parts = cleaning.parts_of(self._wiener, stream)
        series = np.stack([*parts.values(), stream["strain"].values.astype(float)])
        white = signal.oaconvolve(series, self._whitener[None], mode="same", axes=1)
        n_part, n_edge = round(self.settings.part_s * rate_hz), round(_EDGE_S * rate_hz)
        for first in range(n_edge, white.shape[1] - n_edge - n_part + 1, n_part):
            inside = white[:, first : first + n_part]
            yield xr.Dataset(
                {"inputs": (("input", "time"), inside[:-1]), "strain": ("time", inside[-1])}
            )

    def read(self, frame: xr.Dataset) -> Evidence[Gains]:
        """Return by how much each gain is away from normal."""
        seen = self._gains(frame)
        sigma = (seen.gain - self._normal) / self._scatter
        return Evidence(dict(zip(self._names, map(float, sigma), strict=True)), seen)

    def explain(self, name: str, since: Sequence[Gains]) -> tuple[str, Estimate | None]:
        """Return the input whose gain has changed most, in standard errors, and by how much."""
        information = np.sum([each.information for each in since], axis=0)
        told = np.sum([each.information @ (each.gain - self._normal) for each in since], axis=0)
        covariance = np.linalg.inv(information)
        away, error = covariance @ told, np.sqrt(np.diag(covariance))
        most = int(np.argmax(np.abs(away) / error))
        return self._names[most], Estimate.of(away[most], error[most])

    def _gains(self, part: xr.Dataset) -> Gains:
        x, y = part["inputs"].values, part["strain"].values
        left = y - x.sum(axis=0)
        level = float(np.median(np.abs(left))) / 0.6745
        clipped = np.clip(left, -4 * level, 4 * level)  # a glitch is no change of a coupling
        information = x @ x.T / max(level, 1e-300) ** 2
        information += 1e-6 * np.trace(information) / len(information) * np.eye(len(information))
        return Gains(np.linalg.solve(information, x @ clipped / level**2), information)
