"""A subtraction that follows its couplings, and stops where they go away.

Couplings that jump are found by `jumps`, gains that drift are followed by `gains`, and what filters did
not know is learnt by `relearning`. Beyond that, in narrow bands, each input of a Wiener filter gets a
complex factor that is learnt from the seconds before: 1 while the filters stay right, less where a
coupling fades, a turned phase where it changes. Four guesses compete in every band: the filters as
they are, a slow and a quick memory, and no subtraction at all. What would have left least in the last
seconds is used next. A guard looks at what comes out: where a subtraction adds power to a band beyond
what chance does, it is left out there, for this second.

Seconds that are held, as those around a trigger, teach and decide nothing: gains go on as they went
before, and what is subtracted does not depend on the strain in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.virgo.cleaning import Wiener, parts_of
from physics_twins.virgo.gains import Gains
from physics_twins.virgo.jumps import SETTLED, Jumps
from physics_twins.virgo.relearning import Relearner

Series = NDArray[np.floating]
Spans = Sequence[tuple[float, float]]

FRAME_S, PART_S = 1.0, 2.0  # parts are cleaned at once, under a window that overlaps by half
MEMORIES_S = (64.0, 16.0)
_JUDGED_S = 6.0  # over which the guesses are compared
_BANDS_HZ, _WIDTH, _WIDTHS_HZ = (10.0, 480.0), 0.2, (2.0, 16.0)
_PRIOR = 4.0  # certainty of a factor of 1: a standard deviation of a half
_SHRINK = 10.0  # a factor leaves 1 by what is beyond so many variances
_GUARD = 10.0  # a rise of so many times the level of a bin is not chance
_GUARDED_HZ, _RISE = (12.0, 400.0), 0.02  # and no second's power rises by more in all


@dataclass(frozen=True)
class Followed:
    """One second of a subtraction.

    Attributes:
        subtracted: What was taken away, shape (time,).
        stopped_hz: The bands that the guard left out, low and high.
        stopped: Whether it left out everything.
        gain: Mean factor of each input, weighed by what is known of it, shape (input,).
        gain_error: Standard deviation of it, shape (input,).
    """

    subtracted: Series
    stopped_hz: tuple[tuple[float, float], ...]
    stopped: bool
    gain: NDArray[np.complexfloating]
    gain_error: Series


def follow(wiener: Wiener, stretch: xr.Dataset, *, held_s: Spans = ()) -> Series:
    """Return what to subtract from a strain, shape (time,), second by second.

    It is what `stream.Stream` subtracts, but for the seconds at both ends.

    Args:
        wiener: From `fit`: its filters are the first guess.
        stretch: With `strain` and the channels that it was fitted to; what is left of its last second
            is not cleaned.
        held_s: From when to when it goes on as it was before, in s since the first sample.
    """
    n = round(FRAME_S * wiener.sample_rate_hz)
    parts = list(parts_of(wiener, stretch).values())
    strain = stretch["strain"].values.astype(float)
    inputs = np.stack(parts) if parts else np.zeros((0, len(strain)))
    follower, found = Follower(wiener), []
    for first in range(0, len(strain) - n + 1, n):
        inside = slice(first, first + n)
        held = is_held(first / wiener.sample_rate_hz, held_s)
        found.append(follower.push(inputs[:, inside], strain[inside], held=held))
    found.append(follower.finish())
    whole = np.concatenate([each.subtracted for each in found[1:]])
    return np.pad(whole, (0, len(strain) - len(whole)))


def is_held(start_s: float, held_s: Spans) -> bool:
    """Return whether any of a second, from its start, lies in one of some spans."""
    return any(start_s < stop and start_s + FRAME_S > start for start, stop in held_s)


class Follower:
    """The state of a subtraction that follows: a frame of 1 s goes in, the one before it comes out.

    Attributes:
        jumps: Which couplings have jumped.
    """

    def __init__(self, wiener: Wiener) -> None:
        """Begin with the filters as they were fitted."""
        rate_hz = wiener.sample_rate_hz
        n_part = round(PART_S * rate_hz)
        self._n, self._rate_hz, self._n_inputs = n_part // 2, rate_hz, len(wiener.used)
        self._window = np.hanning(n_part + 1)[:-1]
        self._edges = _edges(n_part, rate_hz)
        self._experts = _Experts(len(wiener.used), len(self._edges) - 1)
        self._strain, self._begun = np.zeros(3 * self._n), np.zeros(self._n)
        self._n_pushed = 0
        self._stopped: set[tuple[float, float]] = set()
        self._held = False, False
        self._psd = np.interp(
            np.fft.rfftfreq(self._n, 1 / rate_hz), wiener.frequency_hz, wiener.noise_psd
        )
        self.jumps = Jumps(wiener)
        part_psd = np.interp(
            np.fft.rfftfreq(n_part, 1 / rate_hz), wiener.frequency_hz, wiener.noise_psd
        )
        noise = 0.5 * rate_hz * np.sum(self._window**2) * np.maximum(part_psd, 1e-300)
        self._gains = Gains(len(wiener.used), noise)
        self._relearner = Relearner(wiener, self._gains.weight)

    def push(self, parts: Series, strain: Series, *, held: bool = False) -> Followed:
        """Take in a frame; return the one before it.

        Args:
            parts: Each used input behind its filter, shape (input, time), 1 s.
            strain: Shape (time,).
            held: Whether it teaches and decides nothing.
        """
        free, self._held = not (held or any(self._held)), (self._held[1], held)
        self._strain = np.concatenate([self._strain[self._n :], strain])
        gains = self._gains.now[:, None].copy()
        now = self.jumps.push(parts, strain, gains[:, 0], judged=free)
        known = np.vstack([gains * now, self._strain])
        spectra = np.fft.rfft(known[:, self._n :] * self._window)
        spectra, target = self._relearner.corrected(spectra[:-1]), spectra[-1]
        chosen = self._experts.chosen()  # (band, input)
        stopped = np.zeros(len(chosen), bool)
        if free:
            stopped = self._experts.refused(chosen, spectra, target, self._edges)
        factors = np.ones(spectra.shape, complex)
        inside = slice(self._edges[0], self._edges[-1])
        used = np.where(stopped[:, None], 0, chosen)
        factors[:, inside] = np.repeat(used, np.diff(self._edges), axis=0).T
        part = np.fft.irfft(np.sum(factors * spectra, axis=0), len(self._window))
        if free and self._n_pushed > SETTLED + 1:  # from what the next part shares nothing with
            before, heard = (
                np.fft.rfft(each[..., : -self._n] * self._window) for each in (now, self._strain)
            )
            better = self._relearner.corrected(before)
            self._experts.learn(gains * better, heard, self._edges)
            self._gains.learn(better, heard, self._edges)
            self._relearner.learn(gains * before, heard)
        self._gains.wait()
        self._n_pushed += 1
        edges_hz = self._edges / PART_S
        bands = {(float(edges_hz[b]), float(edges_hz[b + 1])) for b in np.flatnonzero(stopped)}
        gain, error = self._experts.mean(used)
        done = self._begun + part[: self._n], False
        if free:
            done = self._guarded(done[0], self._strain[self._n : -self._n])
        followed = Followed(done[0], tuple(sorted(bands | self._stopped)), done[1], gain, error)
        self._begun, self._stopped = part[self._n :], bands
        return followed

    def finish(self) -> Followed:
        """Return the last frame."""
        n_inputs = self._n_inputs
        return self.push(np.zeros((n_inputs, self._n)), np.zeros(self._n))

    def _guarded(self, subtracted: Series, strain: Series) -> tuple[Series, bool]:
        """Return a second's subtraction, or none where it makes the whole second louder."""
        window = np.hanning(self._n + 1)[:-1]
        before, after = np.abs(np.fft.rfft(np.stack([strain, strain - subtracted]) * window)) ** 2
        frequency_hz = np.fft.rfftfreq(self._n, 1 / self._rate_hz)
        low_hz, high_hz = _GUARDED_HZ
        used = (frequency_hz >= low_hz) & (frequency_hz < min(high_hz, 0.45 * self._rate_hz))
        weight = np.divide(used, self._psd, out=np.zeros_like(self._psd), where=self._psd > 0)
        if weight @ after > (1 + _RISE) * (weight @ before):
            return np.zeros_like(subtracted), True
        return subtracted, False


class _Experts:
    """The guesses of factors for each band, what they rest on, and how well they did."""

    def __init__(self, n_inputs: int, n_bands: int) -> None:
        self._xx = np.zeros((len(MEMORIES_S), n_bands, n_inputs, n_inputs), complex)
        self._xy = np.zeros((len(MEMORIES_S), n_bands, n_inputs), complex)
        ones = np.ones((n_bands, n_inputs), complex)
        # As they are, then one for each memory, then none.
        self._factors = np.stack([ones] * (1 + len(MEMORIES_S)) + [0 * ones])
        self._left = np.zeros((len(self._factors), n_bands))
        self._level, self._n_learnt = np.zeros(n_bands), 0

    def chosen(self) -> NDArray:
        """Return the factors of the best guess in each band, shape (band, input)."""
        best = self._left.argmin(axis=0)
        return self._factors[best, np.arange(len(best))]

    def mean(self, factors: NDArray) -> tuple[NDArray, Series]:
        """Return the mean over all bands of factors, (band, input), and its error, each (input,)."""
        known = np.einsum("bii->bi", self._xx[0]).real + 1e-9
        return np.sum(known * factors, axis=0) / known.sum(axis=0), 1 / np.sqrt(
            known.sum(axis=0) + _PRIOR
        )

    def refused(self, chosen: NDArray, inputs: NDArray, strain: NDArray, edges: NDArray) -> NDArray:
        """Return in which bands factors add power to a part beyond chance, shape (band,)."""
        if not self._n_learnt:
            return np.zeros(len(chosen), bool)
        rises = []
        for b, (low, high) in enumerate(pairwise(edges.tolist())):
            before = strain[low:high]
            after = before - chosen[b] @ inputs[:, low:high]
            rises.append(float(np.sum(np.abs(after) ** 2) - np.sum(np.abs(before) ** 2)))
        return np.array(rises) > _GUARD * np.exp(self._level)

    def learn(self, inputs: NDArray, strain: NDArray, edges: NDArray) -> None:
        """Judge all guesses by a part, (input, frequency) and (frequency), then learn from it."""
        for b, (low, high) in enumerate(pairwise(edges.tolist())):
            x, y = inputs[:, low:high], strain[low:high]
            left = np.sum(np.abs(y - self._factors[:, b] @ x) ** 2, axis=-1)
            keep = np.exp(-0.5 * PART_S / _JUDGED_S)
            self._left[:, b] = keep * self._left[:, b] + left
            # In units of what the best guess leaves in a bin, slowly followed: when all guesses fail at
            # once, what is seen then must not count less than what was seen before.
            level = np.log(max(float(left.min()) / (high - low), 1e-300))
            keep = np.exp(-0.5 * PART_S / MEMORIES_S[0]) if self._n_learnt else 0.0
            self._level[b] = keep * self._level[b] + (1 - keep) * level
            unit = np.exp(self._level[b])
            for m, memory_s in enumerate(MEMORIES_S):
                keep = np.exp(-0.5 * PART_S / memory_s)
                self._xx[m, b] = keep * self._xx[m, b] + x.conj() @ x.T / unit
                self._xy[m, b] = keep * self._xy[m, b] + x.conj() @ y / unit
        self._factors[1:-1] = self._solved()
        self._n_learnt += 1

    def _solved(self) -> NDArray:
        """Return the factors that both memories think best, drawn to 1 by what chance may do."""
        prior = _PRIOR * np.eye(self._xx.shape[-1])
        rest = self._xy - self._xx.sum(axis=-1)  # of what the filters as they are leave
        away = np.linalg.solve(self._xx + prior, rest[..., None])[..., 0]
        sure = np.abs(away) ** 2 * np.einsum("mbii->mbi", self._xx).real
        return 1 + away * np.maximum(0, 1 - _SHRINK / np.maximum(sure, 1e-9))


def _edges(n_part: int, sample_rate_hz: float) -> NDArray[np.integer]:
    """Return the edges of the bands as bins of a part's spectrum."""
    edges_hz = [_BANDS_HZ[0]]
    while edges_hz[-1] < min(_BANDS_HZ[1], 0.45 * sample_rate_hz):
        edges_hz.append(edges_hz[-1] + float(np.clip(_WIDTH * edges_hz[-1], *_WIDTHS_HZ)))
    return np.round(np.array(edges_hz) * n_part / sample_rate_hz).astype(int)
