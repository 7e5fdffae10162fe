"""Watch a stream, and notice that it has changed: sums of likelihood ratios that call an alarm.

Page's test (1954, Biometrika 41, 100): the logarithm of the likelihood ratio of a change against none
is summed and held at zero from below; it calls when the sum passes a threshold h. In independent
frames a false call comes on average after more than exp(h) frames (Lorden 1971, Ann. Math. Stat. 42,
1897), and no test finds a change sooner at that rate.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

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


@dataclass(frozen=True)
class Number:
    """A number that is watched.

    Attributes:
        slack: By how many standard deviations what is expected may be wrong: so much is no change.
        shift: By how many of them the change that is looked for would move it; None where each frame
            says so itself.
        n_frames: It is judged by means over so many frames.
        most: More standard deviations of such a mean do not count: its noise is not Gaussian.
    """

    slack: float
    shift: float | None = None
    n_frames: int = 1
    most: float = np.inf

    @classmethod
    def of_each_frame(cls, n_known: float) -> Self:
        """Return the number that tells in every frame what a change would make of it.

        Args:
            n_known: From how many frames it is known what is normal.
        """
        return cls(SLACK_SIGMA / float(np.sqrt(max(n_known, 1))))

    @classmethod
    def of_change(cls, sigma: float, n_known: float, *, at_most: float, **options: Any) -> Self:
        """Return the number for a change of so many standard deviations.

        Args:
            sigma: The change over the scatter of one value that is judged.
            n_known: From how many such values it is known what is normal.
            at_most: A larger change is looked for as if it were so large, that several frames must
                call it, not one; half of the true change is then no reason to call.
            options: `n_frames` and `most`.
        """
        shift = min(float(sigma), at_most)
        slack = max(SLACK_SIGMA / np.sqrt(max(n_known, 1e-9)), (float(sigma) - shift) / 2)
        return cls(float(slack), shift, **options)


@dataclass(frozen=True)
class Evidence(Generic[Kept]):
    """What one frame says.

    Attributes:
        sigma: Deviation of each number from normal, in standard deviations; one that is left out has
            told nothing.
        kept: What `Watch.explain` needs of it.
        shift: For the numbers whose `Number.shift` is None.
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
        numbers: What is watched.
    """

    frame_word = "Frame"

    def __init__(
        self, state: TwinState, numbers: Mapping[str, Number], *, alarm_threshold: float
    ) -> None:
        """Begin with no sign of a change.

        Raises:
            ValueError: The threshold is not positive.
        """
        self.state, self.numbers = state, dict(numbers)
        self.alarms: list[Alarm] = []
        self._test = ChangeTest(tuple(numbers), threshold=alarm_threshold)
        self._slack = {name: each.slack for name, each in numbers.items()}
        self._n_seen = 0
        self._since: list[Kept] = []
        self._waiting: dict[str, list[float]] = {n: [] for n, e in numbers.items() if e.n_frames > 1}
        self._n_waiting = dict.fromkeys(self._waiting, 0)

    @abstractmethod
    def read(self, frame: xr.Dataset) -> Evidence[Kept]:
        """Return what a frame says."""

    @abstractmethod
    def explain(self, call: Call, since: Sequence[Kept]) -> tuple[str, Estimate | None]:
        """Return what has changed most likely, and by how much where that is known.

        Args:
            call: The alarm.
            since: What was kept of the frames since the change.
        """

    def frames(self, stream: Any) -> Iterable[xr.Dataset]:
        """Return the frames of a stream; it is one already, unless a twin says otherwise."""
        return stream

    def watch(
        self,
        stream: Any,
        *,
        on_alarm: Callable[[Alarm], None] | None = None,
        stop_at_alarm: bool = False,
    ) -> xr.Dataset:
        """Follow a stream, and return what was seen.

        Args:
            stream: As what was learnt from; an iterator may be endless.
            on_alarm: Called with each alarm as it comes.
            stop_at_alarm: Whether to return after the first.

        Returns:
            For each frame `drift_score`, an alarm where it is 1 or more, what else the twin tells of
            it, and `deviation` (frame, number) in standard deviations.
        """
        scores, seen = [], []
        for frame in self.frames(stream):
            n_alarms = len(self.alarms)
            score, evidence = self.look(frame)
            scores.append(score)
            seen.append(evidence)
            if len(self.alarms) > n_alarms:
                if on_alarm:
                    on_alarm(self.alarms[-1])
                if stop_at_alarm:
                    break
        return table_of(scores, seen, tuple(self.numbers), self.frame_word)

    def look(self, frame: xr.Dataset) -> tuple[float, Evidence[Kept]]:
        """Take one frame in; return the drift score, and what it said."""
        evidence = self.read(frame)
        fixed = {name: each.shift for name, each in self.numbers.items() if each.shift is not None}
        call = self._test.add(self._judged(evidence.sigma), {**evidence.shift, **fixed}, self._slack)
        most = int(max(self._test.n_frames.max(), 1))
        self._since = [*self._since, evidence.kept][-most:]
        self._n_seen += 1
        score = self._test.score
        if call:
            name, change = self.explain(call, self._since[-call.n_frames :])
            self.alarms.append(Alarm(self._n_seen - 1, name, call.n_frames, change))
            self.state = self.state.watched(score, name)
            self._test.reset()
            self._since = []
        elif self.state.drift_score < 1:
            self.state = self.state.watched(score)
        return score, evidence

    def _judged(self, sigma: Mapping[str, float]) -> dict[str, float]:
        """Return what is tested now: what has no batches, and means over those that are full."""
        judged = {name: z for name, z in sigma.items() if name not in self._waiting}
        for name, waiting in self._waiting.items():
            self._n_waiting[name] += 1
            waiting.extend([sigma[name]] if name in sigma else [])
            number = self.numbers[name]
            if self._n_waiting[name] < number.n_frames:
                continue
            if waiting:
                mean = float(np.mean(waiting) * np.sqrt(len(waiting)))
                judged[name] = float(np.clip(mean, -number.most, number.most))
            self._waiting[name], self._n_waiting[name] = [], 0
        return judged


def table_of(
    scores: Sequence[float], seen: Sequence[Evidence[Any]], names: Sequence[str], word: str
) -> xr.Dataset:
    """Return what was seen of a stream; see `Watch.watch`."""
    away = np.array([[each.sigma.get(name, np.nan) for name in names] for each in seen])
    more = {name: [each.more[name] for each in seen] for name in (seen[0].more if seen else ())}
    columns = {"drift_score": scores, **more}
    return xr.Dataset(
        {
            **{n: ("frame", np.array(c, dtype=float), {"units": "1"}) for n, c in columns.items()},
            "deviation": (
                ("frame", "number"),
                away.reshape(len(scores), len(names)),
                {"units": "sigma"},
            ),
        },
        coords={
            "number": ("number", np.array(names), {"long_name": "What is watched"}),
            "frame": ("frame", np.arange(len(scores)), {"units": "1", "long_name": word}),
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
