"""Couplings that changed while filters were learnt: when, so that each filter is fitted to one era.

A filter fitted across a change of sign, a stop or a delay is right nowhere. An input that changed is
two inputs, one before and one after: the change is where the second tells most of the strain that all
inputs, as if nothing had changed, leave (partial coherence, Bendat & Piersol 2010, chapter 7).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.virgo.regression import OVERLAP, parts

Series = NDArray[np.floating]

BEFORE = " before"  # after the name of an input that changed
BLOCK_S = 8.0  # to so much a change is placed
_UNSURE_S = 5.0  # around it nothing is learnt
_PART_S = 2.0
_USED_HZ = (10.0, 400.0)
_SHORTEST = 2  # blocks of an era
_CHANCE = 8.0  # standard deviations of chance, which one bin in so many passes
_LEAST = 0.25  # change of the filter's power over the power of the stronger: drift is less
_MOST = 6  # changes that are looked for
_TINY, _LOWEST = 1e-9, 1e-300


@dataclass(frozen=True)
class Split:
    """Where eras of inputs end.

    Attributes:
        at_s: When an input's coupling changed, by the input's name.
        whole: Where filters may learn: no input lacks data, and none changes, shape (time,).
        sample_rate_hz: Of the series.
    """

    at_s: dict[str, float]
    whole: NDArray[np.bool_]
    sample_rate_hz: float

    @staticmethod
    def of(
        inputs: Mapping[str, Series], strain: Series, whole: NDArray[np.bool_], sample_rate_hz: float
    ) -> "Split":
        """Return the eras of inputs; arguments as those of `changes`."""
        at_s, whole = changes(inputs, strain, whole, sample_rate_hz), whole.copy()
        for each in at_s.values():
            first, last = ((each + side * _UNSURE_S) * sample_rate_hz for side in (-1, 1))
            whole[round(first) : round(last)] = False
        return Split(at_s, whole, sample_rate_hz)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Of each input that changed its name, and the name of what it was before."""
        return [(name, f"{name}{BEFORE}") for name in self.at_s]

    def inputs(self, series: Mapping[str, Series]) -> dict[str, Series]:
        """Return inputs, with two for each that changed: what it is since then, and what before."""
        found = dict(series)
        for name, before in self.pairs:
            first = round(self.at_s[name] * self.sample_rate_hz)
            found[name], found[before] = series[name].copy(), series[name].copy()
            found[name][:first] = 0
            found[before][first:] = 0
        return found

    def shares(self, name: str) -> tuple[float, float]:
        """Return how long an input's coupling has been what it is, and was what it had been, in s."""
        first = round(self.at_s[name] * self.sample_rate_hz)
        return (
            np.sum(self.whole[first:]) / self.sample_rate_hz,
            np.sum(self.whole[:first]) / self.sample_rate_hz,
        )


def changes(
    inputs: Mapping[str, Series], strain: Series, whole: NDArray[np.bool_], sample_rate_hz: float
) -> dict[str, float]:
    """Return when the couplings of inputs changed, in s since the first sample, by the input's name.

    Args:
        inputs: Each of shape (time,).
        strain: Shape (time,).
        whole: Where no input lacks data, shape (time,).
        sample_rate_hz: Of all.
    """
    names, n_blocks = list(inputs), int(len(whole) / sample_rate_hz / BLOCK_S)
    if not names or n_blocks < 2 * _SHORTEST:
        return {}
    since, counts = _since([*inputs.values(), strain], whole, sample_rate_hz)
    if not counts[0]:
        return {}
    taken = [(i, 0) for i in range(len(names))]
    found: dict[str, float] = {}
    for _ in range(min(_MOST, len(names))):
        open_to = [i for i, name in enumerate(names) if name not in found]
        tried = [(i, k) for i in open_to for k in range(_SHORTEST, n_blocks - _SHORTEST + 1)]
        best = _best(since, counts, taken, tried)
        if best is None:
            break
        taken.append(best)
        found[names[best[0]]] = best[1] * BLOCK_S
    return found


def _since(
    series: list[Series], whole: NDArray[np.bool_], sample_rate_hz: float
) -> tuple[NDArray[np.complex64], NDArray[np.integer]]:
    """Return cross spectra summed from each block to the end, (block, frequency, series, series).

    And how many parts these are, (block,).
    """
    n_part, n_block = round(_PART_S * sample_rate_hz), round(BLOCK_S * sample_rate_hz)
    low, high = (round(each * _PART_S) for each in _USED_HZ)
    series = [each / max(float(np.std(each)), _LOWEST) for each in series]  # single precision has few
    sums, counts = [], []
    for first in range(0, len(whole) - n_block + 1, n_block):
        inside = slice(first, first + n_block)
        total, n = np.zeros((high - low, len(series), len(series)), np.complex64), 0
        for some in parts([each[inside] for each in series], whole[inside], n_part, at_once=16):
            by_bin = np.ascontiguousarray(some[:, :, low:high].transpose(2, 1, 0))
            total += (by_bin.conj() @ by_bin.transpose(0, 2, 1)).astype(np.complex64)
            n += len(some)
        sums.append(total)
        counts.append(n)
    unit = 1 / np.sqrt(np.maximum(np.einsum("bfii->fi", np.array(sums)).real, 1e-30))
    for total in sums:
        total *= unit[:, :, None] * unit[:, None, :]
    return np.cumsum(np.array(sums)[::-1], axis=0)[::-1], np.cumsum(counts[::-1])[::-1]


def _best(
    since: NDArray, counts: NDArray, taken: list[tuple[int, int]], tried: list[tuple[int, int]]
) -> tuple[int, int] | None:
    """Return the change that explains most beyond chance, None where none does."""
    n = counts[0] / OVERLAP
    xx = _cross(since, taken, taken)
    solved = np.linalg.inv(xx + 1e-6 * np.eye(len(taken)))
    xy, yy = since[:, :, :-1, -1], np.real(since[0, :, -1, -1])
    y = np.stack([xy[k, :, i] for i, k in taken], axis=1)  # (frequency, taken)
    weights = np.einsum("fij,fj->fi", solved, y)
    left_yy = np.maximum(yy - np.einsum("fi,fi->f", y.conj(), weights).real, _TINY)
    across = _cross(since, taken, tried)  # (frequency, taken, tried)
    own = np.stack([np.real(since[k, :, i, i]) for i, k in tried], axis=1)
    rest = own - np.einsum("fit,fij,fjt->ft", across.conj(), solved, across, optimize=True).real
    told = np.stack([xy[k, :, i] for i, k in tried], axis=1) - np.einsum(
        "fit,fi->ft", across.conj(), weights
    )
    known = rest > 1e-4 * own
    partial = np.where(known, np.abs(told) ** 2 / np.maximum(rest * left_yy[:, None], _TINY), 0)
    gained = -n * np.log1p(-np.clip(partial, 0, 1 - 1e-6)).sum(axis=0)
    gained -= known.sum(axis=0) + _CHANCE * np.sqrt(known.sum(axis=0))
    # How much of the input's filter it changes, by power: before w, after w + v.
    change = np.where(known, told / np.maximum(rest, _TINY), 0)
    before = np.stack([weights[:, taken.index((i, 0))] for i, _ in tried], axis=1)
    share = own / np.maximum(np.stack([np.real(since[0, :, i, i]) for i, _ in tried], axis=1), _TINY)
    before = before - share * change  # the single filter lies between the two
    power = [np.sum(own * np.abs(each) ** 2, axis=0) for each in (change, before, before + change)]
    chance = np.sum(np.where(known, own * left_yy[:, None] / np.maximum(n * rest, _TINY), 0), axis=0)
    large = power[0] - chance > _LEAST * np.maximum(power[1], power[2])
    gained = np.where(large, gained, -np.inf)
    best = int(np.argmax(gained))
    return tried[best] if gained[best] > 0 else None


def _cross(since: NDArray, some: list[tuple[int, int]], others: list[tuple[int, int]]) -> NDArray:
    """Return cross spectra of inputs that begin in blocks, shape (frequency, some, other)."""
    i, k = np.array(some).T
    j, m = np.array(others).T
    block = np.maximum(k[:, None], m)
    return since[block, :, i[:, None], j].transpose(2, 0, 1)
