"""Fit the twin to measured showers: energy scale, resolution, angle and thickness, with errors.

The energy scale shows in the visible energy alone; the thickness of the absorbers in how deep showers
reach, counted in layers, and hardly in the visible energy: so the two can be told apart. An angle
hardly shows in either, since cells are turned with the particle: its error is some degrees.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from physics_twins import twin
from physics_twins.calorimeter.fitting.goodness import goodness
from physics_twins.calorimeter.fitting.maximum import Fit, Maximum
from physics_twins.calorimeter.fitting.measured import MeasuredShowers
from physics_twins.calorimeter.fitting.shower_likelihood import LEAST_VARIANCE, ShowerLikelihood
from physics_twins.calorimeter.model import RANGES, ShowerFlow
from physics_twins.calorimeter.observe import observe
from physics_twins.calorimeter.training_showers import NOMINAL_MM
from physics_twins.calorimeter.twin_parameters import CalibrationParameters
from physics_twins.data import Estimate, content_sha256, of_members
from physics_twins.twin import correlated

# The fit looks so far beyond the thicknesses and angles that the flow was trained for, which then shows
# in the health of the state.
_BEYOND: Mapping[str, float] = {"absorber_mm": 0.05, "theta_deg": 3.0}
_SCALES = (0.5, 2.0)
# What the fit counts in, by the name of what it reports.
COORDINATES: Mapping[str, str] = {
    "energy_scale": "log_scale",
    "resolution": "variance",
    "theta_deg": "theta_deg",
    "absorber_mm": "absorber_mm",
}
UNITS: Mapping[str, str] = {
    "energy_scale": "1",
    "resolution": "1",
    "theta_deg": "deg",
    "absorber_mm": "mm",
}
MIN_SHOWERS = 20


@dataclass(frozen=True)
class Calibration(twin.Calibration):
    """The twin as measured showers say it is; see `twin.Calibration`.

    Its parameters are those of `energy_scale`, `resolution`, `theta_deg` and `absorber_mm` that were
    fitted; those that were held have no interval. An error has two parts, from the number of `showers`
    and from the `ensemble`. The residual is that of the longitudinal profile, see `goodness`; the
    score are probabilities of as large a difference by chance.

    Attributes:
        parts: What each error is made of, in the parameter's unit: `showers` and `ensemble`
            (parameter), with the coordinate `unit`.
        members: The fit under each network of the flow.
    """

    parts: xr.Dataset
    members: tuple[Maximum, ...]


def calibrate(
    model: ShowerFlow,
    showers: xr.Dataset,
    *,
    seed: int,
    settings: CalibrationParameters | None = None,
) -> Calibration:
    """Fit the twin to measured showers by maximum likelihood of their layer energies.

    Every member of the flow is fitted by itself. The result is their mean; its error adds in quadrature
    what the showers leave open and what the members disagree on; see `data.of_members`.

    Args:
        model: A trained flow.
        showers: Measured, in the form of `simulate`; `energy_gev` of each particle is known, and
            `theta_deg` unless it is fitted. Nothing else of them is used but their cells.
        seed: Of the showers that the twin draws to judge itself.
        settings: What is fitted, and what is held at which value.

    Raises:
        ValueError: There are too few showers, nothing is to be fitted, the showers have other cells
            than the flow, or energies or angles lie outside its range.
    """
    settings = settings or CalibrationParameters()
    measured = MeasuredShowers.of(showers, model.parameters.layout)
    names = _fitted(settings)
    _check(model, measured, names)
    found = _maxima(model, measured, names, settings)
    estimates, parts = _estimates(found, names)
    held = {
        "energy_scale": settings.expected_scale,
        "resolution": settings.expected_resolution,
        "absorber_mm": settings.expected_absorber_mm,
    }
    parameters = {name: Estimate.of(v, 0.0, UNITS[name]) for name, v in held.items()} | estimates
    drawn = observe(model, parameters, showers, seed=seed, extrapolate=True)
    p_values, profile = goodness(model.members[0], measured, MeasuredShowers.of(drawn), found[0])
    return Calibration(
        twin="calorimeter",
        parameters=parameters,
        correlation=_correlation(found, names),
        parts=parts,
        residual=profile,
        score={**p_values, "n_showers": float(len(measured))},
        valid_range=model.ranges,
        model=model.address or "a flow that is not saved",
        members=found,
    )


def ratio_of_means(
    model: ShowerFlow, showers: xr.Dataset, absorber_mm: float = NOMINAL_MM
) -> dict[str, Estimate]:
    """Return scale and resolution by dividing what is seen by what is expected, and no fit.

    The baseline: absorbers are taken as they were ordered, and the showers' own fluctuations count as
    the detector's.

    Args:
        model: A trained flow, which says what is expected.
        showers: Measured.
        absorber_mm: Thickness of absorbers that is believed.
    """
    measured = MeasuredShowers.of(showers, model.parameters.layout)
    believed = torch.full_like(measured.energy_gev, absorber_mm)
    point = {"theta_deg": measured.theta_deg, "absorber_mm": believed}
    expected = ShowerLikelihood(model.members[0], measured).mean_visible(point)
    ratio = (measured.response / expected).numpy()
    n, mean, sigma = len(ratio), float(ratio.mean()), float(ratio.std(ddof=1))
    return {
        "energy_scale": Estimate.of(mean, sigma / math.sqrt(n)),
        "resolution": Estimate.of(sigma / mean, sigma / mean / math.sqrt(2 * n)),
    }


def identity(showers: xr.Dataset) -> str:
    """Return what tells showers from others: who made them, and the SHA-256 of cells and particles."""
    names = [name for name in ("showers", "energy_gev", "theta_deg") if name in showers]
    maker = str(showers.attrs.get("made_by", "showers"))[:60]
    return f"{maker} sha256:{content_sha256(showers[names])}"


def _fitted(settings: CalibrationParameters) -> tuple[str, ...]:
    chosen = {
        "energy_scale": settings.fit_scale,
        "resolution": settings.fit_resolution,
        "theta_deg": settings.fit_angle,
        "absorber_mm": settings.fit_absorber,
    }
    names = tuple(name for name, is_free in chosen.items() if is_free)
    if not names:
        raise ValueError("nothing is to be fitted: set fit_scale, fit_absorber or another to true")
    return names


def _check(model: ShowerFlow, measured: MeasuredShowers, names: tuple[str, ...]) -> None:
    if len(measured) < MIN_SHOWERS:
        raise ValueError(f"{len(measured)} showers are too few: {MIN_SHOWERS} or more are needed")
    known = {"energy_gev": measured.energy_gev, "theta_deg": measured.theta_deg}
    for name, values in known.items():
        if name in names:
            continue
        (low, high), unit = model.ranges[name], RANGES[name]
        outside = values[~((values >= low) & (values <= high))]
        if len(outside):
            raise ValueError(
                f"{name} = {float(outside[0]):g} {unit} is outside {low:g} to {high:g} {unit}, in which"
                " this flow was trained"
            )


def _maxima(
    model: ShowerFlow,
    measured: MeasuredShowers,
    names: tuple[str, ...],
    settings: CalibrationParameters,
) -> tuple[Maximum, ...]:
    free = tuple(COORDINATES[name] for name in names)
    bounds = {"log_scale": (math.log(_SCALES[0]), math.log(_SCALES[1]))}
    for name, more in _BEYOND.items():
        low, high = model.ranges[name]
        bounds[name] = max(low - more, 0.0), high + more
    start = {
        "log_scale": math.log(settings.expected_scale),
        "variance": max(settings.expected_resolution**2, LEAST_VARIANCE),
        "theta_deg": float(measured.theta_deg.mean()),
        "absorber_mm": settings.expected_absorber_mm,
    }
    fits = [Fit(member, measured, free, bounds) for member in model.members]
    found = [fits[0].maximum(fits[0].first_guess(start))]
    for fit in fits[1:]:
        found.append(fit.maximum(found[-1].values))
    return tuple(found)


def _estimates(
    found: tuple[Maximum, ...], names: tuple[str, ...]
) -> tuple[dict[str, Estimate], xr.Dataset]:
    """Return the mean of the members' values with its interval, and what the interval is made of."""
    values = np.array([[each.values[COORDINATES[name]] for name in names] for each in found])
    mean = values.mean(axis=0)
    ensemble = of_members(values) ** 2
    shower = np.mean([np.diag(each.covariance) for each in found], axis=0)
    estimates: dict[str, Estimate] = {}
    parts = np.zeros((2, len(names)))
    for number, name in enumerate(names):
        sigma = math.sqrt(shower[number] + ensemble[number])
        estimates[name] = reported(name, float(mean[number]), sigma)
        half = estimates[name].error / sigma if sigma > 0 else 0.0
        parts[:, number] = half * np.sqrt([shower[number], ensemble[number]])
    about = {"showers": "Error from the number of showers", "ensemble": "Error of the flow"}
    variables = {
        source: ("parameter", part, {"units": "as in unit", "long_name": words})
        for (source, words), part in zip(about.items(), parts, strict=True)
    }
    units = ("parameter", [UNITS[name] for name in names])
    return estimates, xr.Dataset(variables, {"parameter": list(names), "unit": units})


def reported(name: str, value: float, sigma: float) -> Estimate:
    """Return a coordinate of the fit with its interval, as what it is called outside."""
    if name == "energy_scale":
        ends = [math.exp(value + side * sigma) for side in (-1, 0, 1)]
    elif name == "resolution":
        # A variance may come out at nothing: then the interval begins there.
        ends = [math.sqrt(max(value + side * sigma, 0.0)) for side in (-1, 0, 1)]
    else:
        ends = [value + side * sigma for side in (-1, 0, 1)]
    return Estimate(value=ends[1], low=ends[0], high=ends[2], unit=UNITS[name])


def _correlation(found: tuple[Maximum, ...], names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Return that of all errors: what the showers leave open, and what the members disagree on.

    What is reported follows what is fitted without turning back, so that both correlate alike.
    """
    covariance: NDArray[np.float64] = np.mean([each.covariance for each in found], axis=0)
    values = np.array([[each.values[COORDINATES[name]] for name in names] for each in found])
    if len(found) > 1:
        covariance = covariance + np.cov(values, rowvar=False).reshape(covariance.shape)
    return correlated(names, covariance)
