"""Five statistics by which recorded spectra differ from white Gaussian noise, with errors.

Every channel is first brought to mean 0 and standard deviation 1 within a segment of the observation.
Interference makes tails (kurtosis), the receiver makes memory (lag 1) and neighbours that know of each
other, and what all channels share shows in their sum, the series at zero dispersion measure.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from physics_twins.pulsar.formats.spectra import Observation, open_spectra
from physics_twins.pulsar.searching.cleaning import finite

# Tails heavier than this are no Gaussian noise: excess kurtosis, 0 for a Gaussian.
HIGH_KURTOSIS = 1.0
# The lowest frequencies of a segment, 1 to 5 periods in it, are compared with the upper half of them.
N_LOW_FREQUENCIES = 5
# A longer observation is cut into segments, so that memory stays bounded and lengths comparable.
MAX_SEGMENT_SPECTRA = 8192
MIN_SEGMENT_SPECTRA = 64
N_TIME_BLOCKS = 16
STATISTICS = {
    "kurtosis_share": "Channels with excess kurtosis above 1",
    "lag1_p95": "Lag-1 autocorrelation, 95th percentile of channels",
    "adjacent_median": "Correlation of adjacent channels, median",
    "zero_dm_ratio": "Standard deviation at zero DM over white",
    "low_frequency_ratio": "Power at the lowest frequencies over white",
}


def realism(data: Observation, *, segment_spectra: int | None = None) -> xr.Dataset:
    """Return the five statistics of an observation, each with its standard error.

    Of one segment the error comes from leaving out each of 16 blocks of time in turn (jackknife), and
    that of the lowest frequencies from their scatter; of four or more from the segments' scatter.

    Args:
        data: A dataset with `data` (time, frequency), or a file, which is streamed.
        segment_spectra: Length of a segment; several statistics depend on it, so that only equal
            lengths compare. By default all of a short observation, else equal parts of at most 8192.

    Returns:
        `value`, `error` and `white`, what white Gaussian noise of this size gives (statistic). The
        attributes say how many segments there were, how long, and of how many channels.

    Raises:
        ValueError: A segment is longer than the observation or too short, or every channel is constant.
    """
    with open_spectra(data) as spectra:
        length = _segment_length(spectra.n_spectra, segment_spectra, spectra.name)
        n_segments = spectra.n_spectra // length
        pairs = [
            _segment(finite(spectra.read(n * length, length)), spectra.name, n * length)
            for n in range(n_segments)
        ]
        n_channels = spectra.header.n_channels
    value, error = _combined(np.array(pairs))
    white = [0.0, 1.645 / np.sqrt(length), 0.0, 1.0, 1.0]
    columns = {"value": value, "error": error, "white": np.array(white)}
    return xr.Dataset(
        {name: ("statistic", column, {"units": "1"}) for name, column in columns.items()},
        coords={"statistic": list(STATISTICS)},
        attrs={"segment_spectra": length, "n_segments": n_segments, "n_channels": n_channels},
    )


def compare(real: xr.Dataset, synthetic: xr.Dataset) -> pd.DataFrame:
    """Return the statistics of two observations side by side, a row each, and how far they differ.

    `factor` is the larger over the smaller, 1 where they agree. A share of channels may be 0, and a
    correlation too, so both sides are first raised by the least that can be told from zero: one
    channel, and the correlation's standard error in white noise over all samples of a segment.

    Args:
        real: From `realism`.
        synthetic: From `realism` with segments of the same length.

    Raises:
        ValueError: The segments differ in length.
    """
    lengths = [int(each.attrs["segment_spectra"]) for each in (real, synthetic)]
    if lengths[0] != lengths[1]:
        raise ValueError(
            f"segment_spectra = {lengths[1]} of the synthetic observation must be {lengths[0]}, that of"
            " the real one: the statistics depend on it"
        )
    n_channels = int(real.attrs["n_channels"])
    least = np.array([1 / n_channels, 0, 1 / np.sqrt(lengths[0] * n_channels), 0, 0])
    a, b = (np.abs(each["value"].values) + least for each in (real, synthetic))
    relative = np.hypot(real["error"].values / a, synthetic["error"].values / b)
    factor = np.maximum(a / b, b / a)
    return pd.DataFrame(
        {
            "real": real["value"].values,
            "real_error": real["error"].values,
            "synthetic": synthetic["value"].values,
            "synthetic_error": synthetic["error"].values,
            "white": real["white"].values,
            "factor": factor,
            "factor_error": factor * relative,
        },
        index=pd.Index([STATISTICS[name] for name in real["statistic"].values], name="statistic"),
    )


def _segment_length(n_spectra: int, wanted: int | None, name: str) -> int:
    length = wanted or n_spectra // -(-n_spectra // MAX_SEGMENT_SPECTRA)
    if not MIN_SEGMENT_SPECTRA <= length <= n_spectra:
        raise ValueError(
            f"{name}: segment_spectra = {length}: expected {MIN_SEGMENT_SPECTRA} to {n_spectra}, the"
            " spectra of the observation"
        )
    return length


@dataclass(frozen=True)
class _Sums:
    """Sums over blocks of time, the block first, from which the statistics follow."""

    n: NDArray[Any]  # (block,)
    powers: NDArray[Any]  # (block, power 1 to 4, channel)
    lagged: NDArray[Any]  # (block, channel)
    adjacent: NDArray[Any]  # (block, channel - 1)
    zero_dm: NDArray[Any]  # (block, power 1 to 2)

    def total(self, without: int | None = None) -> "_Sums":
        """Return sums over all blocks but one."""
        chosen = np.arange(len(self.n)) != (-1 if without is None else without)
        return _Sums(*(column[chosen].sum(axis=0) for column in vars(self).values()))


def _segment(spectra: NDArray[Any], name: str, start: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the five statistics of one segment and their errors."""
    z = normalised(spectra)
    if z.shape[1] < 2:
        stop = start + len(spectra)
        raise ValueError(f"{name}: data: in spectra {start} to {stop} fewer than 2 channels vary")
    zero_dm = z.sum(axis=1, dtype=float) / np.sqrt(z.shape[1])
    sums = _block_sums(z, zero_dm)
    value = _from_sums(sums.total())
    left_out = np.array([_from_sums(sums.total(without=n)) for n in range(len(sums.n))])
    spread = ((left_out - left_out.mean(axis=0)) ** 2).mean(axis=0)
    error = np.sqrt((len(left_out) - 1) * spread)
    power = np.abs(np.fft.rfft(zero_dm)) ** 2
    low = power[1 : 1 + N_LOW_FREQUENCIES] / power[len(power) // 2 :].mean()
    low_error = low.std(ddof=1) / np.sqrt(len(low))
    return np.append(value, low.mean()), np.append(error, low_error)


def normalised(spectra: NDArray[Any]) -> NDArray[np.float32]:
    """Return the channels that vary, each with mean 0 and standard deviation 1, (time, channel)."""
    z = spectra.astype(np.float32)
    z -= z.mean(axis=0, dtype=float).astype(np.float32)
    std = z.std(axis=0, dtype=float)
    return z[:, std > 0] / std[std > 0].astype(np.float32)


def _block_sums(z: NDArray[np.float32], zero_dm: NDArray[np.float64]) -> _Sums:
    edges = np.linspace(0, len(z), N_TIME_BLOCKS + 1).astype(int)
    columns: list[list[Any]] = [[], [], [], [], []]
    for start, stop in pairwise(edges):
        part = z[start:stop].astype(np.float64)
        summed = zero_dm[start:stop]
        square = part * part
        powers = [part, square, square * part, square * square]
        later = z[start + 1 : stop + 1]  # one further than the block, which ends the segment's last
        row = (
            len(part),
            [power.sum(axis=0) for power in powers],
            (later * part[: len(later)]).sum(axis=0),
            (part[:, 1:] * part[:, :-1]).sum(axis=0),
            [summed.sum(), (summed**2).sum()],
        )
        for column, entry in zip(columns, row, strict=True):
            column.append(entry)
    return _Sums(*map(np.array, columns))


def _from_sums(sums: _Sums) -> NDArray[np.float64]:
    """Return the first four statistics."""
    m1, m2, m3, m4 = sums.powers / sums.n
    variance = np.maximum(m2 - m1**2, 1e-12)
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    lag1 = (sums.lagged / sums.n - m1**2) / variance
    pair_variance = np.sqrt(variance[1:] * variance[:-1])
    adjacent = (sums.adjacent / sums.n - m1[1:] * m1[:-1]) / pair_variance
    z1, z2 = sums.zero_dm / sums.n
    return np.array(
        [
            np.mean(fourth / variance**2 - 3 > HIGH_KURTOSIS),
            np.percentile(lag1, 95),
            np.median(adjacent),
            np.sqrt(z2 - z1**2),
        ]
    )


def _combined(pairs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and error over segments, from (segment, value and error, statistic)."""
    n = len(pairs)
    if n >= 4:
        return pairs[:, 0].mean(axis=0), pairs[:, 0].std(axis=0, ddof=1) / np.sqrt(n)
    return pairs[:, 0].mean(axis=0), np.sqrt((pairs[:, 1] ** 2).sum(axis=0)) / n
