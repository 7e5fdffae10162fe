"""What a pulse is, with errors: arrival, DM, width, scattering and S/N, by maximum likelihood."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import special

from physics_twins.data import Estimate
from physics_twins.pulsar.fitting.least_squares import Solution, intervals, solve
from physics_twins.pulsar.fitting.pulse_model import (
    DM,
    FLUENCE,
    SCATTERING,
    SQUARED_WIDTH,
    TIME,
    PulseWindows,
    cut,
    off_pulse_noise,
    samples,
    squared_sigma,
)
from physics_twins.pulsar.formats.spectra import open_spectra
from physics_twins.pulsar.physics.ism import SIGMA_PER_FWHM
from physics_twins.pulsar.searching.cleaning import clean

# Highest DM that the cleaning of a single pulse's surroundings has to spare, over the pulse's own.
DM_HEADROOM, MIN_CLEANING_DM = 1.2, 10.0
# A boxcar that finds a Gaussian best is so much longer than its full width at half maximum.
BOXCAR_PER_FWHM = 1.18
# Widths to start from, over that which the boxcar tells; the best solution counts.
START_WIDTHS = (1.0, 0.5)
START_TAIL = 0.3  # scattering to start from, over the width, in the middle of the band
# In the residual, channels are added in subbands, so that a misfit can be seen above the noise.
N_SUBBANDS = 8
# A cell holds a pulse where the model is above this part of its highest value.
ON_PULSE = 0.01

NAMES = {DM: "dm_pc_cm3", SQUARED_WIDTH: "width_ms", SCATTERING: "scattering_ms"}
UNITS = {DM: "pc cm-3", SQUARED_WIDTH: "ms", SCATTERING: "ms"}


@dataclass(frozen=True)
class PulseFit:
    """What was fitted to one pulse, or to many that share a shape.

    Attributes:
        parameters: `dm_pc_cm3`, `width_ms` and, where it was fitted, `scattering_ms` (at 1 GHz), each
            with its 68 % interval.
        pulses: `time_s`, `snr` (in white noise, as if nothing had been removed) and `fluence` of each
            pulse, and their errors (pulse). The fluence is in standard deviations of the noise in one
            sample, times ms.
        covariance: Of the parameters, in the products of their units, shape (parameter, other).
        residual: `data`, `model` and `residual` of all pulses stacked, in standard deviations of a
            cell, and whether the pulse is there, `on_pulse` (offset, frequency).
        chi_squared: Of the residual where the pulse is, in the variance of the cells beside it.
        degrees_of_freedom: The cells where the pulse is less the numbers fitted; those beside it.
    """

    parameters: dict[str, Estimate]
    pulses: xr.Dataset
    covariance: NDArray[np.float64]
    residual: xr.Dataset
    chi_squared: float
    degrees_of_freedom: tuple[int, int]

    @property
    def reduced_chi_squared(self) -> float:
        """Chi-squared over its degrees of freedom."""
        return self.chi_squared / self.degrees_of_freedom[0]

    @property
    def profile(self) -> xr.Dataset:
        """`data`, `model` and `residual` of all pulses and the whole band, (offset)."""
        cells = self.residual[["data", "model", "residual"]]
        names = {"data": "Data", "model": "Fitted pulse", "residual": "Data less fitted pulse"}
        whole = cells.sum("frequency") / np.sqrt(cells.sizes["frequency"])
        for name, words in names.items():
            whole[name].attrs = {"units": "sigma", "long_name": words}
        return whole

    @property
    def p_value(self) -> float:
        """Probability of a higher chi-squared where the model is right (Fisher's F test)."""
        return float(special.fdtrc(*self.degrees_of_freedom, self.reduced_chi_squared))


def fit_pulse(
    observation: xr.Dataset,
    dm_pc_cm3: float,
    time_s: float,
    width_s: float,
    *,
    scattering_ms: float | None = 0.0,
) -> PulseFit:
    """Fit one pulse of an observation, from what a search knows of it.

    Interference is removed first, and what is removed does not count; each channel is brought to its
    own noise.

    Args:
        observation: With `data` (time, frequency); the pulse's whole sweep should lie inside.
        dm_pc_cm3: Dispersion measure to start from.
        time_s: Arrival at the highest channel.
        width_s: Full width at half maximum of the best filter.
        scattering_ms: Scattering time at 1 GHz that is known; None fits it. It falls as frequency^-4.

    Raises:
        ValueError: No sample of the pulse is left.
    """
    with open_spectra(observation) as source:
        spectra, band, first_s = source.read(0, source.n_spectra), source.band, source.first_s
    highest_dm = max(DM_HEADROOM * dm_pc_cm3, MIN_CLEANING_DM)
    data = clean(spectra, delays=band.delays(highest_dm)).data
    where = dm_pc_cm3, [time_s], BOXCAR_PER_FWHM * width_s
    windows = cut(data, band, *where, start_s=first_s)
    best = fit_windows(windows, *where, scattering_ms=scattering_ms)
    template = samples(windows.laws, best.shapes[0], windows.delays, windows.values.shape[2])
    return describe(windows, best, off_pulse_noise(data, template, windows.delays))


def fit_windows(
    windows: PulseWindows,
    dm_pc_cm3: float,
    time_s: Sequence[float] | NDArray[np.float64],
    boxcar_s: float,
    *,
    scattering_ms: float | None = 0.0,
) -> Solution:
    """Return the best solution for pulses that share their shape, from a search's values.

    Args:
        windows: The data.
        dm_pc_cm3: Dispersion measure to start from.
        time_s: Arrival of each pulse to start from, shape (pulse,).
        boxcar_s: Length of the best boxcar.
        scattering_ms: As in `fit_pulse`.

    Raises:
        ValueError: No sample is left in the windows.
    """
    if not windows.values.any():
        raise ValueError("no sample is left around the pulse: all are removed as interference")
    free = (DM, SQUARED_WIDTH, SCATTERING) if scattering_ms is None else (DM, SQUARED_WIDTH)
    found = []
    for factor in START_WIDTHS:
        width_ms = 1e3 * factor * boxcar_s / BOXCAR_PER_FWHM
        tail_ms = START_TAIL * width_ms / windows.laws.scattering.mean()
        shapes = np.empty((len(windows), 4))
        shapes[:, 0] = 1e3 * (np.asarray(time_s) - windows.start_s)
        shapes[:, 1:3] = dm_pc_cm3, squared_sigma(width_ms)
        shapes[:, 3] = tail_ms if scattering_ms is None else scattering_ms
        found.append(solve(windows, shapes, free))
    return max(found, key=lambda solution: solution.gain)


def describe(windows: PulseWindows, best: Solution, noise_factor: float = 1.0) -> PulseFit:
    """Return what a solution says of the pulses.

    Args:
        windows: What was fitted.
        best: The solution.
        noise_factor: From `off_pulse_noise`; errors grow by it.
    """
    best, lows, highs = intervals(windows, best, noise_factor=noise_factor)
    values = [float(best.shapes[0, column - TIME]) for column in best.free]
    parameters = {
        NAMES[c]: Estimate(value=_shown(c, v), low=_shown(c, low), high=_shown(c, high), unit=UNITS[c])
        for c, v, low, high in zip(best.free, values, lows, highs, strict=True)
    }
    # The variance of the Gaussian is fitted; that of its width follows from the slope.
    slopes = [shown_slope(c, v) for c, v in zip(best.free, values, strict=True)]
    covariance = noise_factor**2 * best.covariance * np.outer(slopes, slopes)
    residual = _residual(windows, best)
    on = residual["on_pulse"].values
    cells = residual["residual"].values
    n_off = max(int((~on).sum()), 1)
    variance_off = float(np.square(cells[~on]).sum()) / n_off if (~on).any() else 1.0
    return PulseFit(
        parameters,
        _pulses(windows, best, noise_factor),
        covariance,
        residual,
        float(np.square(cells[on]).sum() / variance_off),
        (max(int(on.sum()) - len(best.free) - 2, 1), n_off),
    )


def _shown(column: int, value: float) -> float:
    """Return a number of the shape as the parameter that it stands for."""
    return float(np.sqrt(max(value, 0.0)) / SIGMA_PER_FWHM) if column == SQUARED_WIDTH else float(value)


def shown_slope(column: int, value: float) -> float:
    """Return the slope of a parameter with the number of the shape that stands for it."""
    if column != SQUARED_WIDTH:
        return 1.0
    return float(0.5 / (SIGMA_PER_FWHM * np.sqrt(max(value, 1e-12))))


def _pulses(windows: PulseWindows, best: Solution, noise_factor: float) -> xr.Dataset:
    """Return arrival, S/N and fluence of each pulse with their errors."""
    template = samples(windows.laws, best.shapes[0], windows.delays, windows.values.shape[2])
    seen = np.maximum(best.products[:, FLUENCE, FLUENCE], 1e-300)
    # What was removed would have added its part of the S/N.
    whole = np.sqrt(np.square(template).sum() / seen)
    gain = best.fluence**2 * seen
    # The best of several shapes fits noise too: its chi-squared gains one for each number fitted.
    n_fitted = 1 + len(best.free) / len(windows)
    snr = whole * np.sqrt(np.maximum(gain - n_fitted * noise_factor**2, 0.0))
    time_error_ms = noise_factor * np.sqrt(best.time_variance)
    columns = {
        "time_s": (windows.start_s + 1e-3 * best.shapes[:, 0], "s"),
        "time_error_s": (1e-3 * time_error_ms, "s"),
        "snr": (snr, "1"),
        "snr_error": (noise_factor * whole, "1"),
        "fluence": (best.fluence * windows.laws.sampling_ms, "sigma ms"),
        "fluence_error": (
            noise_factor * np.sqrt(best.fluence_variance) * windows.laws.sampling_ms,
            "sigma ms",
        ),
    }
    return xr.Dataset({n: ("pulse", values, {"units": u}) for n, (values, u) in columns.items()})


def _residual(windows: PulseWindows, best: Solution) -> xr.Dataset:
    """Return data, model and their difference, all pulses stacked, each weighted by its fluence."""
    n_channels, n_samples = windows.values.shape[1:]
    total = np.zeros((3, n_channels, n_samples))  # data, model, square of the weights
    for values, shape, fluence in zip(windows.values, best.shapes, best.fluence, strict=True):
        used = values != 0
        model = fluence * samples(windows.laws, shape, windows.delays, n_samples)
        total += fluence * np.stack([values, np.where(used, model, 0), fluence * used])
    parts = np.array_split(np.arange(n_channels), min(N_SUBBANDS, n_channels))
    data, model, weight = (np.stack([each[p].sum(axis=0) for p in parts], axis=1) for each in total)
    norm = np.sqrt(np.maximum(weight, 1e-300))
    data, model = np.where(weight > 0, data / norm, 0), np.where(weight > 0, model / norm, 0)
    offset_ms = (np.arange(n_samples) * windows.laws.sampling_ms) - float(np.median(best.shapes[:, 0]))
    frequency_mhz = [float(windows.band.frequency_mhz[p].mean()) for p in parts]
    plane = ("offset", "frequency")
    sigma = {"units": "sigma"}
    return xr.Dataset(
        {
            "data": (plane, data, sigma),
            "model": (plane, model, sigma),
            "residual": (plane, data - model, sigma),
            "on_pulse": (plane, model > ON_PULSE * model.max(), {"units": "1"}),
        },
        coords={
            "offset": ("offset", offset_ms, {"units": "ms", "long_name": "Time after arrival"}),
            "frequency": ("frequency", frequency_mhz, {"units": "MHz"}),
        },
    )
