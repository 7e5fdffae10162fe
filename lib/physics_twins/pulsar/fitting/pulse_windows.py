"""Windows cut out of an observation along a dispersion track: what a pulse is fitted to."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physics_twins.pulsar.fitting.pulse_model import ChannelLaws
from physics_twins.pulsar.physics.ism import Band
from physics_twins.pulsar.searching.dedispersion import delay_samples

# A window reaches so many lengths of the search's boxcar before and behind the pulse; scattering's tail
# lies behind it.
LENGTHS_BEFORE, LENGTHS_BEHIND = 2.0, 4.0
# By how much the DM that a window is cut with may be wrong.
DM_MARGIN_PC_CM3 = 1.5
# A channel's level is the mean of so long a part around its window; of fewer spectra it is not known.
LEVEL_S = 0.5
MIN_LEVEL_SPECTRA = 100
CLIP_SIGMA = 3.0
CLIPPED_STD = 0.98658  # of a Gaussian cut there, in its standard deviations


@dataclass(frozen=True)
class PulseWindows:
    """Cleaned samples around pulses, each channel later by the delay of one DM.

    Attributes:
        values: In standard deviations of the noise, 0 where removed, shape (pulse, channel, sample).
        delays: First sample of each channel, after the first of the highest, shape (channel,).
        start_s: Time of the first sample of the highest channel, shape (pulse,).
        band: The receiver.
        laws: How each of its channels sees a pulse.
    """

    values: NDArray[np.float32]
    delays: NDArray[np.int32]
    start_s: NDArray[np.float64]
    band: Band
    laws: ChannelLaws

    def __len__(self) -> int:
        return len(self.values)

    def chosen(self, which: ArrayLike) -> "PulseWindows":
        """Return some of the windows."""
        which = np.asarray(which)
        return replace(self, values=self.values[which], start_s=self.start_s[which])

    @classmethod
    def joined(cls, parts: list[Self]) -> "PulseWindows":
        """Return windows that were cut in the same way as one set."""
        values = np.concatenate([part.values for part in parts])
        start_s = np.concatenate([part.start_s for part in parts])
        return replace(parts[0], values=values, start_s=start_s)


def cut(
    data: NDArray[np.float32],
    band: Band,
    dm_pc_cm3: float,
    time_s: ArrayLike,
    boxcar_s: float,
    *,
    start_s: float = 0.0,
    laws: ChannelLaws | None = None,
) -> PulseWindows:
    """Cut windows around pulses.

    Args:
        data: Cleaned spectra as `cleaning.clean` returns them, shape (channel, time).
        band: The receiver.
        dm_pc_cm3: Dispersion measure of the track.
        time_s: Arrivals at the highest channel, shape (pulse,).
        boxcar_s: About the length of the pulses, tail included.
        start_s: Time of the first spectrum of `data`.
        laws: How each channel sees a pulse; by default with scattering of a thin screen.
    """
    times = (np.atleast_1d(np.asarray(time_s, dtype=float)) - start_s) / band.sampling_s
    margin = DM_MARGIN_PC_CM3 * band.delay_s_per_dm / 2
    before = int(np.ceil((LENGTHS_BEFORE * boxcar_s + margin) / band.sampling_s))
    behind = int(np.ceil((LENGTHS_BEHIND * boxcar_s + margin) / band.sampling_s))
    first = np.rint(times).astype(np.int64) - before
    delays = delay_samples(band.frequency_mhz, np.array([dm_pc_cm3]), band.sampling_s)[0]
    time = first[:, None, None] + delays[:, None] + np.arange(before + behind + 1)
    inside = (time >= 0) & (time < data.shape[1])
    channel = np.arange(len(delays))[:, None]
    values = np.where(inside, data[channel, time.clip(0, data.shape[1] - 1)], np.float32(0))
    half = round(LEVEL_S / 2 / band.sampling_s)
    _take_level_away(data, first, delays, half, values)
    starts_s = start_s + first.astype(np.float64) * band.sampling_s
    return PulseWindows(values, delays, starts_s, band, laws or ChannelLaws.of(band))


def _take_level_away(
    data: NDArray[np.float32],
    first: NDArray[np.int64],
    delays: NDArray[np.int32],
    half: int,
    values: NDArray[np.float32],
) -> None:
    """Subtract from each channel of a window the mean of what is beside all windows.

    The cleaning's running mean counts the pulses in: it leaves the level beside them below zero.
    """
    n_time, n_samples = data.shape[1], values.shape[2]
    for c, delay in enumerate(delays):
        starts, used = first + delay, data[c] != 0
        for start in starts:
            used[max(0, start) : max(0, start + n_samples)] = False
        total = np.cumsum(np.pad(np.where(used, data[c], 0), (1, 0)), dtype=float)
        count = np.cumsum(np.pad(used, (1, 0)))
        low, high = (starts - half).clip(0, n_time), (starts + n_samples + half).clip(0, n_time)
        n = count[high] - count[low]
        level = np.where(n < MIN_LEVEL_SPECTRA, 0, (total[high] - total[low]) / np.maximum(n, 1))
        values[:, c] -= np.where(values[:, c] != 0, level[:, None], 0)


def off_pulse_noise(
    data: NDArray[np.float32], template: NDArray[np.float64], delays: NDArray[np.int32]
) -> float:
    """Return the standard deviation of what a matched filter finds beside pulses.

    It is 1 in white noise of unit variance. Slow variations, and neighbouring channels that vary
    together, make it larger: by so much the errors of a fit grow.

    Args:
        data: Cleaned spectra, shape (channel, time).
        template: A pulse as `pulse_model.samples` returns it, shape (channel, sample).
        delays: First sample of each channel, shape (channel,).

    Returns:
        The standard deviation, and 1 where the data are too short to tell.
    """
    peak = template.sum(axis=0)
    core = np.flatnonzero(peak > 0.05 * peak.max())
    core = slice(int(core[0]), int(core[-1]) + 1)
    step = max(1, (core.stop - core.start) // 2)
    starts = np.arange(0, data.shape[1] - int(delays.max()) - template.shape[1], step)
    if len(starts) < 64:
        return 1.0
    product, square = np.zeros((2, len(starts)))
    sample = starts[:, None] + np.arange(core.start, core.stop)
    for row, own, delay in zip(data, template[:, core], delays, strict=True):
        part = row[sample + delay]
        product += part @ own
        square += (part != 0).astype(float) @ own**2
    found = product[square > 0] / np.sqrt(square[square > 0])
    centre, sigma = np.median(found), 1.4826 * np.median(np.abs(found - np.median(found)))
    for _ in range(3):  # pulses and interference are cut away
        core_values = found[np.abs(found - centre) < CLIP_SIGMA * sigma]
        centre, sigma = core_values.mean(), core_values.std() / CLIPPED_STD
    return float(sigma)
