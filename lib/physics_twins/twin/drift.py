"""Watch a stream, and notice that it has changed: sums of likelihood ratios that call an alarm.

Page's test (1954, Biometrika 41, 100): the logarithm of the likelihood ratio of a change against none
is summed and held at zero from below; it calls when the sum passes a threshold h. In independent
frames a false call comes on average after more than exp(h) frames (Lorden 1971, Ann. Math. Stat. 42,
1897), and no test finds a change sooner at that rate.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import Estimate
from physics_twins.twin.state import TwinState

Kept = TypeVar("Kept")

# What is normal is known with an error: so many of its standard deviations do not count as a change.
SLACK_SIGMA = 1.0
# One frame counts for no more than so many standard deviations, so that a single outlier cannot call.
MAX_SIGMA = 4.0


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


@dataclass(frozen=True)
class Number:
    """A number that is watched.

    Attributes:
        n_known: From how many values, such as are judged, it is known what is normal.
        change: The change that is looked for, over the scatter of one value that is judged; None where
            each frame says so itself.
        at_most: A larger change is looked for as if it were so large, that several frames must call it,
            not one; half of the true change is then no reason to call.
        n_frames: It is judged by means over so many frames.
        most: More standard deviations of such a mean do not count: its noise is not Gaussian.
    """

    n_known: float
    change: float | None = None
    at_most: float = np.inf
    n_frames: int = 1
    most: float = np.inf

    @property
    def slack(self) -> float:
        """By how many standard deviations what is expected may be wrong: so much is no change."""
        beyond = max((self.change or 0.0) - self.at_most, 0.0)
        return max(SLACK_SIGMA / float(np.sqrt(max(self.n_known, 1e-9))), beyond / 2)

    def mean(self, values: Sequence[float]) -> float:
        """Return the mean of single frames' deviations, in standard deviations of such a mean."""
        told = [value for value in values if np.isfinite(value)]
        mean = sum(told) / np.sqrt(len(told)) if told else np.nan
        return float(np.clip(mean, -self.most, self.most))


class ChangeTest:
    """Page's test of several numbers at once, for a rise and a fall of each.

    Attributes:
        numbers: What is watched, by name.
        n_frames: Frames since each sum was last zero, shape (2, number): for a rise, and for a fall.
    """

    def __init__(self, numbers: Mapping[str, Number], *, threshold: float) -> None:
        """Begin with no sign of a change.

        Args:
            numbers: What is watched.
            threshold: Logarithm of the likelihood ratio at which a change is called.

        Raises:
            ValueError: The threshold is not positive.
        """
        if not threshold > 0:
            raise ValueError(f"threshold = {threshold:g} must be positive")
        self.numbers, self._threshold = dict(numbers), float(threshold)
        self._slack = np.array([each.slack for each in numbers.values()])
        self._waiting: dict[str, list[float]] = {name: [] for name in numbers}
        self.reset()

    def reset(self) -> None:
        """Forget all signs of a change."""
        self._sums: NDArray[np.float64] = np.zeros((2, len(self.numbers)))
        self.n_frames: NDArray[np.int64] = np.zeros((2, len(self.numbers)), dtype=np.int64)

    @property
    def score(self) -> float:
        """The highest sum over the threshold; an alarm is at 1."""
        return float(self._sums.max(initial=0.0) / self._threshold)

    def add(self, sigma: Mapping[str, float], shift: Mapping[str, float]) -> tuple[str, int] | None:
        """Take one frame in; at an alarm return which number has changed, and in how many frames.

        Args:
            sigma: What the frame says of each number: its deviation from what is expected, in standard
                deviations. A number that is left out or not finite has told nothing.
            shift: By how many of these standard deviations the change that is looked for would move
                those whose `change` is None.
        """
        z = np.array([self._judged(name, sigma.get(name, np.nan)) for name in self.numbers])
        d = np.abs([_shift(each, shift.get(name, np.nan)) for name, each in self.numbers.items()])
        beyond = np.clip(np.stack([z, -z]) - self._slack, -MAX_SIGMA, MAX_SIGMA)
        ratio = d * beyond - d**2 / 2
        self._sums = np.maximum(self._sums + np.where(np.isfinite(ratio), ratio, 0.0), 0.0)
        self.n_frames = np.where(self._sums > 0, self.n_frames + 1, 0)
        if self.score < 1:
            return None
        side, number = np.unravel_index(int(self._sums.argmax()), self._sums.shape)
        return list(self.numbers)[number], int(self.n_frames[side, number])

    def _judged(self, name: str, sigma: float) -> float:
        """Return what is tested now: the mean over enough frames, not a number until they are there."""
        number, waiting = self.numbers[name], self._waiting[name]
        waiting.append(sigma)
        if len(waiting) < number.n_frames:
            return np.nan
        self._waiting[name] = []
        return number.mean(waiting)


def _shift(number: Number, told: float) -> float:
    return told if number.change is None else min(number.change, number.at_most)


@dataclass(frozen=True)
class Evidence(Generic[Kept]):
    """What one frame says.

    Attributes:
        sigma: Deviation of each number from normal, in standard deviations; one that is left out has
            told nothing.
        kept: What `Watch.explain` needs of it.
        shift: For the numbers whose `Number.change` is None.
        more: What else the table shall show of it, by name.
    """

    sigma: Mapping[str, float]
    kept: Kept
    shift: Mapping[str, float] = field(default_factory=dict)
    more: Mapping[str, float] = field(default_factory=dict)


class Watch(ABC, Generic[Kept]):
    """Watches a stream of frames for a twin, which says how to read one and what a call means.

    Attributes:
        state: The twin's record, with its health as seen.
        alarms: All that were called.
    """

    frame_word = "Frame"

    def __init__(
        self, state: TwinState, numbers: Mapping[str, Number], *, alarm_threshold: float
    ) -> None:
        """Begin with no sign of a change.

        Raises:
            ValueError: The threshold is not positive.
        """
        self.state = state
        self.alarms: list[Alarm] = []
        self._test = ChangeTest(numbers, threshold=alarm_threshold)
        self._n_seen = 0
        self._since: list[Kept] = []

    @abstractmethod
    def read(self, frame: xr.Dataset) -> Evidence[Kept]:
        """Return what a frame says."""

    @abstractmethod
    def explain(self, name: str, since: Sequence[Kept]) -> tuple[str, Estimate | None]:
        """Return what has changed most likely, and by how much where that is known.

        Args:
            name: The number that called.
            since: What was kept of the frames since the change.
        """

    def frames(self, stream: Any) -> Iterable[xr.Dataset]:
        """Return the frames of a stream; it is one already, unless a twin says otherwise."""
        return stream

    def watch(self, stream: Any, *, stop_at_alarm: bool = False) -> xr.Dataset:
        """Follow a stream, and return what was seen.

        Args:
            stream: As what was learnt from; an iterator may be endless.
            stop_at_alarm: Whether to return after the first.

        Returns:
            For each frame `drift_score`, an alarm where it is 1 or more, what else the twin tells of
            it, and `deviation` (frame, number) in standard deviations.
        """
        scores, seen = [], []
        for frame in self.frames(stream):
            seen.append(self.read(frame))
            scores.append(self._add(seen[-1]))
            if stop_at_alarm and scores[-1] >= 1:
                break
        return table_of(scores, seen, list(self._test.numbers), self.frame_word)

    def _add(self, evidence: Evidence[Kept]) -> float:
        """Take one frame in; return the drift score."""
        called, score = self._test.add(evidence.sigma, evidence.shift), self._test.score
        self._since = [*self._since, evidence.kept][-max(int(self._test.n_frames.max()), 1) :]
        if called:
            name, n_frames = called
            parameter, change = self.explain(name, self._since[-n_frames:])
            self.alarms.append(Alarm(self._n_seen, parameter, n_frames, change))
            self.state = self.state.watched(score, parameter)
            self._test.reset()
            self._since = []
        elif self.state.drift_score < 1:
            self.state = self.state.watched(score)
        self._n_seen += 1
        return score


def table_of(
    scores: Sequence[float], seen: Sequence[Evidence[Any]], names: Sequence[str], word: str
) -> xr.Dataset:
    """Return what was seen of a stream; see `Watch.watch`."""
    more = {name: [each.more[name] for each in seen] for name in (seen[0].more if seen else ())}
    columns = {"drift_score": scores, **more}
    away = [[each.sigma.get(name, np.nan) for name in names] for each in seen]
    deviation = np.reshape(np.array(away, dtype=float), (len(seen), len(names)))
    return xr.Dataset(
        {name: ("frame", np.array(each, float), {"units": "1"}) for name, each in columns.items()}
        | {"deviation": (("frame", "number"), deviation, {"units": "sigma"})},
        {
            "number": ("number", list(names), {"long_name": "What is watched"}),
            "frame": ("frame", np.arange(len(seen)), {"units": "1", "long_name": word}),
        },
    )
