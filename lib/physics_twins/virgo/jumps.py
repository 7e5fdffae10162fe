"""Couplings that jump: one changes its sign, stops or comes back, or its channel begins to come late.

All frequencies of an input jump together, so that a tenth of a second tells it: in the whitened strain,
the logarithm of the likelihood ratio of each possible jump against none is summed and held at zero from
below (Page 1954, Biometrika 41, 100), for each input by itself. What a jump was is known from the sum,
when it was from where the sum began to rise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal
from scipy.signal import windows

from physics_twins.virgo.cleaning import Wiener

Series = NDArray[np.floating]

GAINS = (1.0, -1.0, 0.0)
LATE_MS = 10.0  # a channel that comes later, or earlier, is not looked for
SETTLED = 4  # frames at the beginning, of which nothing is learnt: filters lack what was before
_STEPS = 16  # in a frame: the sums are looked at after each
_THRESHOLD = 120.0  # of the logarithm of the likelihood ratio; chance passes 18 once in a year
_MOST = 12.0  # that one step may add, so that a glitch is no jump
_CLIP = 3.0  # standard deviations
_WHITEN_S = 0.25
_BROAD_HZ = 30.0  # an input that is narrower does not tell a delay from a phase


@dataclass(frozen=True)
class Jump:
    """What an input's coupling has become.

    Attributes:
        input: Its name.
        time_s: When, since the first sample.
        gain: What its filter is multiplied with since then.
        late_s: By how much its channel comes late.
    """

    input: str
    time_s: float
    gain: float
    late_s: float


class Jumps:
    """What is subtracted of each input, with its gain and delay as they are now.

    Attributes:
        found: All jumps, in the order in which they were noticed.
    """

    def __init__(self, wiener: Wiener) -> None:
        """Begin with the filters as they were fitted."""
        rate_hz = wiener.sample_rate_hz
        self._names = [wiener.inputs[n] for n in wiener.used]
        self._rate_hz, self._n = rate_hz, round(rate_hz)
        self._whitener = whitener(wiener)
        n_late = round(1e-3 * LATE_MS * rate_hz)
        late = [k for k in range(-n_late, n_late + 1) if abs(k) <= 8 or k % 2 == 0]
        self._states = [(1.0, k) for k in late] + [(g, 0) for g in GAINS[1:]]
        self._gain, self._late = (
            np.array([g for g, _ in self._states]),
            np.array([k for _, k in self._states]),
        )
        self._zero, self._n_late = self._states.index((1.0, 0)), n_late
        self._margin = max(n_late, len(self._whitener) // 2)
        self._now = np.full(len(self._names), self._zero)
        self._sums = np.zeros((len(self._names), len(self._states)))
        self._plain = np.zeros(self._sums.shape)
        self._since = np.zeros(self._sums.shape, int)  # the step in which a sum began to rise
        self._series = np.zeros((len(self._names) + 1, 3 * self._n))
        self._made = np.zeros((len(self._names), 3 * self._n))
        self._level, self._step, self._n_pushed = 1.0, SETTLED * _STEPS, 0
        self.found: list[Jump] = []

    @property
    def now(self) -> list[tuple[float, float]]:
        """Gain and delay in s of each input as they are now."""
        return [(self._states[s][0], self._states[s][1] / self._rate_hz) for s in self._now]

    def push(self, parts: Series, strain: Series, gains: Series, *, judged: bool = True) -> Series:
        """Take in a frame of 1 s; return the parts of it and of the two before it as they are now.

        Args:
            parts: Each used input behind its filter, shape (input, time).
            strain: Shape (time,).
            gains: To which the couplings have drifted, shape (input,): drift is no jump.
            judged: Whether to look for jumps in it.

        Returns:
            Shape (input, 3 s), less these gains.
        """
        n = self._n
        self._series = np.concatenate([self._series[:, n:], np.vstack([parts, strain])], axis=1)
        self._made = np.concatenate([self._made[:, n:], np.zeros(parts.shape)], axis=1)
        for i, state in enumerate(self._now):
            self._made[i, 2 * n - self._margin :] = self._shifted(self._series[i], state)[
                2 * n - self._margin :
            ]
        self._n_pushed += 1
        if len(self._names) and self._n_pushed > SETTLED and judged:
            self._judge(gains)
        elif self._n_pushed > SETTLED:
            self._step += _STEPS
        return self._made

    def _judge(self, gains: Series) -> None:
        """Look for jumps up to a margin before the end of what is known."""
        n, high = self._n, 3 * self._n - self._margin
        white = signal.oaconvolve(self._series, self._whitener[None], mode="same", axes=1)
        white[:-1] *= gains[:, None]
        now = np.stack([self._shifted(white[i], s) for i, s in enumerate(self._now)])
        size = n // _STEPS
        delayed = _broad(white[:-1, high - n : high], self._rate_hz)[:, None] | (self._late == 0)
        for k in range(_STEPS):
            inside = slice(high - n + k * size, high - n + (k + 1) * size)
            left = (white[-1] - now.sum(axis=0))[inside]
            level = float(np.median(np.abs(left))) / 0.6745
            self._level += 0.01 * (np.clip(level, 0.5 * self._level, 2 * self._level) - self._level)
            left = np.clip(left, -_CLIP * self._level, _CLIP * self._level)
            power = max(self._level**2, float(np.mean(left**2)))
            more = self._gains(white, now, left, inside) / power
            more = np.where(delayed, more, -np.inf)
            rising = self._sums > 0
            self._since = np.where(rising, self._since, self._step)
            self._plain = np.where(rising, self._plain, 0) + more
            self._sums = np.maximum(0, self._sums + np.clip(more, -_MOST, _MOST))
            self._step += 1
            if self._sums.max() > _THRESHOLD:
                i = int(self._sums.max(axis=1).argmax())
                likely = self._sums[i] > 0.5 * _THRESHOLD  # they all rise as fast as a step may
                state = int(np.where(likely, self._plain[i], -np.inf).argmax())
                self._jump(i, state, white, now, inside.stop)
                now[i] = self._shifted(white[i], state)

    def _gains(self, white: Series, now: Series, left: Series, inside: slice) -> Series:
        """Return by how much each state would explain a step better, shape (input, state)."""
        most = self._n_late
        near = white[:-1, inside.start - most : inside.stop + most]
        late = np.lib.stride_tricks.sliding_window_view(near, len(left), axis=1)  # (input, late, time)
        late, mine = late[:, self._late + most], now[:, inside]
        by_left, by_now = late @ left, np.einsum("ist,it->is", late, mine)
        gain = self._gain
        # d = gain late - now explains d left - d^2 / 2 more.
        power = gain**2 * np.einsum("ist,ist->is", late, late) - 2 * gain * by_now
        return (
            gain * by_left - (mine @ left)[:, None] - 0.5 * (power + np.sum(mine**2, axis=1)[:, None])
        )

    def _jump(self, i: int, state: int, white: Series, now: Series, stop: int) -> None:
        size = self._n // _STEPS
        first = max(self._margin, stop - size * (self._step - int(self._since[i, state]) + 1))
        left = (white[-1] - now.sum(axis=0))[first:stop]
        differs = (self._shifted(white[i], state) - now[i])[first:stop]
        onset = first + int(np.argmin(np.cumsum(left * differs - 0.5 * differs**2)))
        gain, late = self._states[state]
        self._made[i, onset:] = self._shifted(self._series[i], state)[onset:]
        # `stop` is the end of step `_step`.
        time_s = self._step / _STEPS - (stop - onset) / self._rate_hz - self._margin / self._rate_hz
        self.found.append(Jump(self._names[i], time_s, gain, late / self._rate_hz))
        self._now[i] = state
        self._sums[i] = 0

    def _shifted(self, series: Series, state: int) -> Series:
        """Return series with a state's gain and delay; what is not known yet is 0."""
        gain, late = self._states[state]
        if not late:
            return gain * series
        found = np.zeros(series.shape)
        if late > 0:
            found[..., :-late] = gain * series[..., late:]
        else:
            found[..., -late:] = gain * series[..., :late]
        return found


def _broad(white: Series, sample_rate_hz: float) -> NDArray[np.bool_]:
    """Return which inputs have power over a broad range of frequencies, shape (input,)."""
    power = np.abs(np.fft.rfft(white)) ** 2
    bins = np.sum(power, axis=1) ** 2 / np.maximum(np.sum(power**2, axis=1), 1e-300)
    return bins * sample_rate_hz / white.shape[1] > _BROAD_HZ


def whitener(wiener: Wiener) -> Series:
    """Return a filter, centred, that turns what the filters left into noise of variance 1.

    Args:
        wiener: From `cleaning.fit`.
    """
    rate_hz, n_taps = wiener.sample_rate_hz, 2 * (len(wiener.frequency_hz) - 1)
    asd = np.sqrt(wiener.noise_psd * rate_hz / 2)
    used = (wiener.frequency_hz >= 10) & (wiener.frequency_hz < 0.45 * rate_hz)
    spectrum = np.divide(1, asd, out=np.zeros_like(asd), where=used & (asd > 0))
    taps = np.roll(np.fft.irfft(spectrum, n_taps), n_taps // 2)
    half = round(0.5 * _WHITEN_S * rate_hz)
    middle = n_taps // 2
    return taps[middle - half : middle + half + 1] * windows.hann(2 * half + 1)
