"""Notice that a stream of numbers has changed: sums of likelihood ratios that call an alarm.

Page's test (1954, Biometrika 41, 100): the logarithm of the likelihood ratio of a change against none
is summed and held at zero from below; it calls when the sum passes a threshold h. In independent
frames a false call comes on average after more than exp(h) frames (Lorden 1971, Ann. Math. Stat. 42,
1897), and no test finds a change sooner at that rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.twin import Estimate

# One frame counts for no more than so many standard deviations, so that a single outlier cannot call.
MAX_SIGMA = 4.0


@dataclass(frozen=True)
class Call:
    """An alarm.

    Attributes:
        name: The number that has changed.
        direction: 1 where it rose, -1 where it fell.
        n_frames: Frames since the change, as the test dates it.
        score: The sum over its threshold, 1 or more.
    """

    name: str
    direction: int
    n_frames: int
    score: float


@dataclass(frozen=True)
class Alarm:
    """A change that a monitor has found.

    Attributes:
        frame: The frame that called, counted from the first that was watched.
        parameter: What changed most likely.
        n_frames: Frames since the change.
        change: By how much; None for a number that is not known so.
    """

    frame: int
    parameter: str
    n_frames: int
    change: Estimate | None


class ChangeTest:
    """Page's test of several numbers at once, for a rise and a fall of each.

    Attributes:
        names: The numbers.
        threshold: Logarithm of the likelihood ratio at which a change is called.
        sums: Present sums, shape (2, number): for a rise, and for a fall.
        n_frames: Frames since each sum was last zero, shape (2, number).
    """

    def __init__(self, names: Sequence[str], *, threshold: float) -> None:
        """Begin with no sign of a change.

        Raises:
            ValueError: The threshold is not positive.
        """
        if not threshold > 0:
            raise ValueError(f"threshold = {threshold:g} must be positive")
        self.names = tuple(names)
        self.threshold = float(threshold)
        self.reset()

    def reset(self) -> None:
        """Forget all that was seen."""
        self.sums: NDArray[np.float64] = np.zeros((2, len(self.names)))
        self.n_frames: NDArray[np.int64] = np.zeros((2, len(self.names)), dtype=np.int64)

    @property
    def score(self) -> float:
        """The highest sum over the threshold; an alarm is at 1."""
        return float(self.sums.max(initial=0.0) / self.threshold)

    def add(
        self,
        sigma: Mapping[str, float],
        shift: Mapping[str, float],
        slack: Mapping[str, float] | None = None,
    ) -> Call | None:
        """Take one frame in, and return the alarm that it raises.

        Args:
            sigma: What the frame says of each number: its deviation from what is expected, in standard
                deviations. A number that is left out or not finite has told nothing.
            shift: By how many of these standard deviations the change that is looked for would move it.
            slack: By how many of them what is expected may be wrong: so much of a deviation does not
                count.
        """
        z = np.array([sigma.get(name, np.nan) for name in self.names])
        d = np.abs([shift.get(name, np.nan) for name in self.names])
        free = np.array([(slack or {}).get(name, 0.0) for name in self.names])
        beyond = np.clip(np.stack([z, -z]) - free, -MAX_SIGMA, MAX_SIGMA)
        ratio = d * beyond - d**2 / 2
        self.sums = np.maximum(self.sums + np.where(np.isfinite(ratio), ratio, 0.0), 0.0)
        self.n_frames = np.where(self.sums > 0, self.n_frames + 1, 0)
        if self.score < 1:
            return None
        side, number = np.unravel_index(int(self.sums.argmax()), self.sums.shape)
        n_frames = int(self.n_frames[side, number])
        return Call(self.names[number], (1, -1)[side], n_frames, self.score)


def watched(
    scores: Sequence[float],
    deviations: Sequence[Mapping[str, float]],
    names: Sequence[str],
    *,
    frame: str = "Frame",
) -> xr.Dataset:
    """Return what a monitor has seen.

    Args:
        scores: The drift score after each frame.
        deviations: What each frame said of each number, in standard deviations.
        names: The numbers.
        frame: What a frame is called.

    Returns:
        `drift_score` (frame), an alarm where it is 1 or more, and `deviation` (frame, number).
    """
    away = np.array([[each.get(name, np.nan) for name in names] for each in deviations])
    return xr.Dataset(
        {
            "drift_score": ("frame", np.array(scores, dtype=float), {"units": "1"}),
            "deviation": (
                ("frame", "number"),
                away.reshape(len(scores), len(names)),
                {"units": "sigma"},
            ),
        },
        coords={
            "number": ("number", np.array(names), {"long_name": "What is watched"}),
            "frame": ("frame", np.arange(len(scores)), {"units": "1", "long_name": frame}),
        },
    )


def long_run_scatter(values: NDArray[np.float64], *, reach: int = 8) -> tuple[float, float]:
    """Return the mean, and the standard deviation that counts for sums of values that hang together.

    Interference lasts for many frames: a sum of n of them scatters more than by the root of n, by what
    the autocovariances add (Newey and West 1987, Econometrica 55, 703).

    Args:
        values: A number in frame after frame, shape (frame,); what is not finite is left out.
        reach: Frames over which they hang together.
    """
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return (float(values[0]) if len(values) else 0.0), np.nan
    away = values - values.mean()
    variance = float(away @ away) / (len(values) - 1)
    long_run = variance
    for lag in range(1, min(reach, len(values) - 1) + 1):
        long_run += 2 * (1 - lag / (reach + 1)) * float(away[:-lag] @ away[lag:]) / (len(values) - 1)
    return float(values.mean()), float(np.sqrt(max(long_run, variance)))
