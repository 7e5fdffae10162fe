"""Which channels, and which products of two, reach a strain: chosen at a stated rate of false ones.

A candidate is judged by its coherence with what is still unexplained, averaged over groups of bins of
frequency. Where two series have nothing to do with each other, n |coherence|^2 of n parts follows an
exponential distribution of mean 1 in each bin (Bendat & Piersol 2010, chapter 9), and its mean over a
group a gamma distribution. The least probable group, times the number of groups, is the candidate's
p-value; Benjamini and Hochberg (1995, J. R. Stat. Soc. B 57, 289) choose among all of them.

Two lines at one frequency are coherent by accident for as long as their phases stay together: where
both series remember their phase, only what explains more than half of the line's power counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import gammaincc

from physics_twins.virgo import cleaning, following, fringe, inputs, witnesses
from physics_twins.virgo.inputs import Pair
from physics_twins.virgo.parameters import CleaningParameters
from physics_twins.virgo.regression import OVERLAP, parts

Series = NDArray[np.floating]
Complex = NDArray[Any]

_PART_S = 2.0
# Groups are a tenth of their frequency wide, 3 Hz at least.
_LOWEST_HZ, _GROUP, _GROUP_HZ = 9.0, 0.1, 3.0
_LAGS = (2, 4, 6, 8)  # parts that share nothing, over which a line remembers its phase
_MOST = 16  # inputs that are taken in at a second look
_TRIED = 32  # of the candidates, those that are looked at again beside each other
_AT_ONCE = 16
_SLOW = 0.01  # part of the variance within parts of a channel that drifts
_TINY = 1e-300


@dataclass(frozen=True)
class Selection:
    """What may be used of a stretch's channels.

    Attributes:
        channels: Those that reach the strain, by themselves or in a product.
        products: Which of them are multiplied.
        p_values: Of each candidate, by its name, before it was known what others explain.
        unsafe: Channels that carry strain, and were not looked at.
    """

    channels: tuple[str, ...]
    products: tuple[Pair, ...]
    p_values: dict[str, float]
    unsafe: tuple[str, ...] = ()


def select(
    stretch: xr.Dataset, settings: CleaningParameters | None = None, *, unsafe: Iterable[str] = ()
) -> Selection:
    """Return which channels and products reach the strain in the part that filters are fitted to.

    First each channel by itself; then, in what a Wiener filter of these leaves, all channels again, all
    products of two and the fringe of the bench, the strongest first, each given those before it.

    Args:
        stretch: With `strain` and `witness`.
        settings: `false_discovery_rate` of them, and the part that is looked at.
        unsafe: Channels that carry strain, see `unsafe_channels`.
    """
    settings = settings or CleaningParameters()
    unsafe = tuple(unsafe)
    train, rate_hz = cleaning.training_part(stretch, settings), inputs.sample_rate(stretch)
    known = inputs.known(train, [n for n in inputs.channels(train) if n not in unsafe])
    known = replace(known, series=_quick(known, rate_hz))
    strain = train["strain"].values.astype(float)
    linear = p_values_of(known.series, strain, known.whole, rate_hz)
    rate = settings.false_discovery_rate
    first = chosen(linear, rate)
    left = strain
    if first:
        wiener = cleaning.fit(train, settings.replace(train_fraction=1.0), channels=first, products=())
        left = strain - following.follow(wiener, train)
    candidates = _Candidates.of(known, left, rate_hz)
    p_values = p_values_of(candidates, left, known.whole, rate_hz)
    p_values |= {n: min(1.0, p_values[n] * candidates.trials) for n in candidates.tried}
    second = chosen(p_values, rate)
    second = _beside_each_other(candidates, second, left, known.whole, rate_hz, rate / len(p_values))
    products = tuple(candidates.pairs[name] for name in second if name in candidates.pairs)
    bench = (witnesses.BENCH.name,) if candidates.tried & set(second) else ()
    found = {*first, *bench, *second, *(n for p in products for n in p)}
    channels = tuple(n for n in known.series if n in found)
    p_values |= {n: min(p, p_values[n]) for n, p in linear.items()}
    return Selection(channels, products, p_values, unsafe)


def unsafe_channels(stretch: xr.Dataset, injected: Series, *, rate: float = 0.01) -> tuple[str, ...]:
    """Return the channels that contain strain: those in which an injected signal is found again.

    The signals are put into the strain on purpose, so that their waveform is known; a channel that is
    coherent with it would take a real signal away.

    Args:
        stretch: Recorded while signals were injected.
        injected: Their waveform in the strain, shape (time,).
        rate: Part of those returned that are safe, on average.
    """
    known = inputs.known(stretch)
    everywhere = np.ones(len(injected), bool)
    rate_hz = inputs.sample_rate(stretch)
    p_values = p_values_of(_quick(known, rate_hz), injected, everywhere, rate_hz)
    return tuple(chosen(p_values, rate))


def chosen(p_values: Mapping[str, float], rate: float) -> list[str]:
    """Return what Benjamini and Hochberg choose, the most probable first.

    Args:
        p_values: By name.
        rate: Part of what is chosen that is false, on average at most.

    >>> chosen({"a": 0.001, "b": 0.03, "c": 0.6, "d": 0.02}, 0.1)
    ['a', 'd', 'b']
    """
    ranked = sorted(p_values, key=lambda name: p_values[name])
    passed = [n for n, name in enumerate(ranked, 1) if p_values[name] <= rate * n / len(ranked)]
    return ranked[: max(passed, default=0)]


@dataclass(frozen=True)
class _Candidates(Mapping[str, Series]):
    """Channels, products and the fringe: made when they are asked for, since there are many."""

    series: dict[str, Series]
    pairs: dict[str, Pair]
    trials: int  # of the fringe's calibration

    @staticmethod
    def of(known: inputs.Known, left: Series, sample_rate_hz: float) -> "_Candidates":
        pairs = {f"{a}*{b}": (a, b) for a, b in combinations_with_replacement(known.series, 2)}
        bench = known.series.get(witnesses.BENCH.name)
        if bench is None:
            return _Candidates(known.series, pairs, 1)
        found = fringe.fitted(left, bench, sample_rate_hz)
        more = {found.name: found.series(bench, sample_rate_hz)}
        low, high = fringe.CALIBRATIONS
        return _Candidates(known.series | more, pairs, round((high - low) / fringe.CALIBRATION_STEP))

    @property
    def tried(self) -> set[str]:
        """Name of the fringe, whose calibration was sought."""
        return {n for n in self.series if n.endswith(f" {witnesses.BENCH.name}")}

    def __getitem__(self, name: str) -> Series:
        if name in self.series:
            return self.series[name]
        a, b = self.pairs[name]
        return self.series[a] * self.series[b]

    def __iter__(self) -> Any:
        return iter((*self.series, *self.pairs))

    def __len__(self) -> int:
        return len(self.series) + len(self.pairs)


def p_values_of(
    candidates: Mapping[str, Series], target: Series, whole: NDArray[np.bool_], sample_rate_hz: float
) -> dict[str, float]:
    """Return how probable each candidate's coherence with a target is by chance, by name.

    Args:
        candidates: Each of shape (time,).
        target: Shape (time,).
        whole: Where no candidate lacks data, shape (time,).
        sample_rate_hz: Of all.
    """
    y = _levelled(_spectra([target], whole, sample_rate_hz)[0])
    names, found = list(candidates), {}
    for n in range(0, len(names), _AT_ONCE):
        some = names[n : n + _AT_ONCE]
        x = _spectra([candidates[name] for name in some], whole, sample_rate_hz)
        found |= dict(zip(some, _chance(x, y, sample_rate_hz), strict=True))
    return found


def _beside_each_other(
    candidates: Mapping[str, Series],
    names: Sequence[str],
    target: Series,
    whole: NDArray[np.bool_],
    sample_rate_hz: float,
    level: float,
) -> list[str]:
    """Return those that still tell something when the ones before them have told what they know."""
    if not names:
        return []
    y = _levelled(_spectra([target], whole, sample_rate_hz)[0])
    left = list(names[:_TRIED])
    x = _spectra([candidates[name] for name in left], whole, sample_rate_hz)
    found: list[str] = []
    while left and len(found) < _MOST:
        p_values = _chance(x, y, sample_rate_hz, n_lost=len(found))
        best = int(np.argmin(p_values))
        if p_values[best] > level * (len(found) + 1):
            break
        found.append(left.pop(best))
        one, x = x[best], np.delete(x, best, axis=0)
        norm = np.maximum(np.sum(np.abs(one) ** 2, axis=0), _TINY)
        y = y - one * (np.sum(one.conj() * y, axis=0) / norm)
        x = x - one * (np.sum(one.conj() * x, axis=1) / norm)[:, None]
    return found


def _quick(known: inputs.Known, sample_rate_hz: float) -> dict[str, Series]:
    return {n: each for n, each in known.series.items() if not _slow(each, sample_rate_hz)}


def _slow(series: Series, sample_rate_hz: float) -> bool:
    """Return whether a channel hardly changes within a part, so that it says nothing."""
    n_part = round(2 * _PART_S * sample_rate_hz)
    parts = series[: len(series) // n_part * n_part].reshape(-1, n_part)
    return bool(np.median(parts.var(axis=1)) < _SLOW * series.var())


def _spectra(series: Sequence[Series], whole: NDArray[np.bool_], sample_rate_hz: float) -> Complex:
    """Return spectra of parts, shape (series, part, frequency)."""
    n_part = round(_PART_S * sample_rate_hz)
    # Units differ by many orders of magnitude, and single precision has few.
    unit = [each / max(float(np.std(each)), _TINY) for each in series]
    made = [p.astype(np.complex64) for p in parts(unit, whole, n_part, at_once=_AT_ONCE)]
    if not made:
        raise ValueError("no part of the stretch has data in all channels; leave some channels out")
    return np.concatenate(made).transpose(1, 0, 2)


def _levelled(y: Complex) -> Complex:
    """Return a target's spectra, (part, frequency), with loud parts turned down: glitches are rare."""
    white = np.mean(np.abs(y) ** 2 / np.maximum(np.median(np.abs(y) ** 2, axis=0), _TINY), axis=1)
    return y / np.sqrt(np.maximum(1, white / np.median(white)))[:, None]


def _chance(x: Complex, y: Complex, sample_rate_hz: float, *, n_lost: int = 0) -> Series:
    """Return how probable the coherence of candidates with a target is by chance.

    Args:
        x: Spectra of the candidates, shape (candidate, part, frequency).
        y: Of the target, shape (part, frequency).
        sample_rate_hz: Of the series.
        n_lost: Inputs that were taken out of both.
    """
    n = max(2.0, y.shape[0] / OVERLAP - n_lost)
    coherence = _ratio(np.abs(np.sum(x.conj() * y, axis=1)) ** 2, _power(x) * _power(y))
    lines = _remembers(x, y)
    strength = np.where(lines, 0, n * coherence)
    edges = _groups(sample_rate_hz)
    p_values = np.ones((len(x), len(edges) - 1))
    for g, (low, high) in enumerate(pairwise(edges)):
        n_bins = np.sum(~lines[:, low:high], axis=1)
        alike = _bins_alike(n_bins)
        total = strength[:, low:high].sum(axis=1)
        by_chance = gammaincc(np.maximum(n_bins, 1) / alike, total / alike)
        p_values[:, g] = np.where(n_bins > 0, by_chance, 1)
        p_values[(lines & (coherence > 0.5))[:, low:high].any(axis=1), g] = 0
    return np.minimum(1, p_values.min(axis=1) * p_values.shape[1])


def _remembers(x: Complex, y: Complex) -> NDArray[np.bool_]:
    """Return in which bins candidate and target keep their phase together, (candidate, frequency)."""
    both = 0
    for lag in _LAGS:
        mine = _ratio(np.sum(x[:, :-lag].conj() * x[:, lag:], axis=1), _power(x))
        target = _ratio(np.sum(y[:-lag].conj() * y[lag:], axis=0), _power(y))
        both = both + np.real(mine * target.conj())
    return np.asarray(both) > 0.5


def _power(x: Complex) -> Series:
    return np.sum(np.abs(x) ** 2, axis=-2)


def _ratio(over: Complex, under: Series) -> Complex:
    return over / np.maximum(under, _TINY)


def _bins_alike(n_bins: NDArray[np.integer]) -> Series:
    """Return over how many bins a Hann window spreads one, in a mean over so many bins."""
    near = [(4 / 9, 1), (1 / 36, 2)]  # squared correlation with the neighbours
    parts = [rho * np.clip(1 - k / np.maximum(n_bins, 1), 0, 1) for rho, k in near]
    return 1 + 2 * np.sum(parts, axis=0)


def _groups(sample_rate_hz: float) -> list[int]:
    """Return the edges of the groups of bins."""
    edges_hz = [_LOWEST_HZ]
    while edges_hz[-1] < 0.45 * sample_rate_hz:
        edges_hz.append(edges_hz[-1] + max(_GROUP_HZ, _GROUP * edges_hz[-1]))
    return [round(each * _PART_S) for each in edges_hz]
