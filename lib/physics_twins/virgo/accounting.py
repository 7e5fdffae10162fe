"""What a subtraction did, band by band, beside the oracle: removed, left, and made worse."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.virgo.couplings import RESPONSE_S
from physics_twins.virgo.sensitivity import noise_asd

Series = NDArray[np.floating]

BANDS_HZ = (12, 14, 18, 24, 32, 44, 56, 80, 110, 160, 230, 400)
_N_BLOCKS = 16  # of the jackknife
EDGE_S = 2 * RESPONSE_S  # at both ends of the stretch, where filters have not settled


def removed_by_band(
    stretch: xr.Dataset, subtracted: Series, limit: Series, *, from_s: float = 0.0, part_s: float = 2.0
) -> xr.Dataset:
    """Return which part of the coupled power a subtraction removed in each band, beside the oracle.

    Power is weighed by the detector's noise. What is removed is known from the truth: 1 less the power
    of coupled minus subtracted over that of coupled, so that what a subtraction adds counts against it.

    Args:
        stretch: From `simulate`.
        subtracted: What was subtracted, shape (time,).
        limit: What the oracle subtracts, shape (time,).
        from_s: Where the part begins that filters were not fitted to.
        part_s: Length of the parts whose spectra are averaged.

    Returns:
        For each band (band): `coupled`, power over that of the detector's noise; `removed` and
        `removed_error`; `removed_limit`, the oracle's; `of_limit` and `of_limit_error`, the ratio;
        `strain_change` and its error, of the power of the strain itself, negative where cleaner;
        coordinates `low` and `high` in Hz. Errors are a jackknife's over blocks of time.
    """
    rate_hz, detector = float(stretch.attrs["sample_rate_hz"]), str(stretch.attrs["detector"])
    time_s = stretch["time"].values
    inside = (time_s >= max(from_s, EDGE_S)) & (time_s < stretch.attrs["duration_s"] - EDGE_S)
    coupled = np.sum([stretch[str(name)].values for name in stretch["coupling"].values], axis=0)
    strain = stretch["strain"].values
    wanted = (coupled, coupled - subtracted, coupled - limit, strain, strain - subtracted)
    power = np.array([band_power(each[inside], rate_hz, detector, part_s=part_s) for each in wanted])

    def figures(mean: Series) -> Series:
        removed, possible = 1 - mean[1] / mean[0], 1 - mean[2] / mean[0]
        return np.array([mean[0], removed, possible, removed / possible, mean[4] / mean[3] - 1])

    values, errors = _jackknife(power, figures)
    names = "coupled", "removed", "removed_limit", "of_limit", "strain_change"
    variables = {name: ("band", values[i], _unit("1")) for i, name in enumerate(names)}
    variables |= {f"{name}_error": ("band", errors[i], _unit("1")) for i, name in enumerate(names)}
    edges = np.array(BANDS_HZ, dtype=float)
    low_hz, high_hz = edges[:-1][: values.shape[1]], edges[1:][: values.shape[1]]
    return xr.Dataset(
        variables, coords={"low": ("band", low_hz, _unit("Hz")), "high": ("band", high_hz, _unit("Hz"))}
    )


def band_power(
    series: Series, sample_rate_hz: float, detector: str, *, part_s: float = 2.0
) -> NDArray[np.floating]:
    """Return the power in each band over that of the detector's noise, shape (part, band).

    Args:
        series: Strain, shape (time,).
        sample_rate_hz: Of it; bands above nine tenths of half of it are left out.
        detector: Whose noise.
        part_s: Length of a part; parts overlap by half under a Hann window.
    """
    n_part = round(part_s * sample_rate_hz)
    window = np.hanning(n_part + 1)[:-1]
    parts = np.lib.stride_tricks.sliding_window_view(series, n_part)[:: n_part // 2] * window
    density = 2 * np.abs(np.fft.rfft(parts, axis=-1)) ** 2 / (sample_rate_hz * np.sum(window**2))
    frequency_hz = np.fft.rfftfreq(n_part, 1 / sample_rate_hz)
    over = density / noise_asd(np.maximum(frequency_hz, 0.1), detector) ** 2
    bands = []
    for low_hz, high_hz in pairwise(BANDS_HZ):
        if high_hz <= 0.45 * sample_rate_hz:
            bands.append(over[:, (frequency_hz >= low_hz) & (frequency_hz < high_hz)].mean(axis=1))
    return np.stack(bands, axis=1)


def frames_made_worse(
    stretch: xr.Dataset, subtracted: Series, *, from_s: float = 0.0, by: float = 0.05
) -> tuple[int, int]:
    """Return in how many frames of 1 s the power of 12 to 400 Hz rose, and of how many.

    Args:
        stretch: With `strain`, and the attributes of `simulate`.
        subtracted: Shape (time,).
        from_s: Where to begin.
        by: A rise by this part or less does not count.
    """
    rate_hz, detector = float(stretch.attrs["sample_rate_hz"]), str(stretch.attrs["detector"])
    inside = stretch["time"].values >= max(from_s, EDGE_S)
    strain = stretch["strain"].values
    pair = (strain, strain - subtracted)
    before, after = (band_power(each[inside], rate_hz, detector, part_s=1.0)[::2] for each in pair)
    widths = np.diff(BANDS_HZ)[: before.shape[1]]
    return int(np.sum(after @ widths > (1 + by) * (before @ widths))), len(before)


def _jackknife(power: Series, figures: Callable[[Series], Series]) -> tuple[Series, Series]:
    """Return figures of mean powers, and their errors from leaving out blocks of time in turn."""
    blocks = np.array_split(power, _N_BLOCKS, axis=1)
    sums = np.array([block.sum(axis=1) for block in blocks])
    counts = np.array([block.shape[1] for block in blocks])
    without = (sums.sum(axis=0) - sums) / (counts.sum() - counts)[:, None, None]
    each = np.array([figures(mean) for mean in without])
    spread = (_N_BLOCKS - 1) * np.mean((each - each.mean(axis=0)) ** 2, axis=0)
    return figures(power.mean(axis=1)), np.sqrt(spread)


def _unit(units: str) -> dict[str, str]:
    return {"units": units}
