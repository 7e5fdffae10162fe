"""Fit the twin to measured showers: energy scale, resolution, angle and absorbers, with errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from physics_twins.calorimeter.flow.layer_fit import FITTED, Fit, Layers, fit, log_likelihood
from physics_twins.calorimeter.flow.shower_tensors import check_form
from physics_twins.calorimeter.infer import infer
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.twin_parameters import CalibrationParameters
from physics_twins.twin import Estimate, Range, TwinState

MIN_SHOWERS = 50
# Showers of the twin for each measured one, against which the fit is judged.
_N_TWIN = 2
_FIRST_SCATTERS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
_SWITCHES = {
    "fit_energy_scale": "energy_scale",
    "fit_absorber": "absorber_mm",
    "fit_resolution": "resolution_squared",
    "fit_angle": "theta_deg",
}


@dataclass(frozen=True)
class Calibration:
    """The twin as measured showers say it is.

    Attributes:
        parameters: `energy_scale`, measured over true energy, `absorber_mm`, and where they were fitted
            `resolution`, the relative scatter beyond the shower's own, and `theta_deg`; each with its
            68 % interval, from the showers' number and from what the flow has not learnt well.
        fit: The fit itself.
        residual: Mean energy of each layer, measured and of the calibrated twin, `pull` (layer) their
            difference in standard errors.
        score: `p_value`, the probability that the calibrated twin's own showers are as unlikely, or
            more; `log_likelihood` of a shower and of the twin's own; `n_showers`.
    """

    parameters: dict[str, Estimate]
    fit: Fit
    residual: xr.Dataset
    score: dict[str, float]

    def state(self, model: ShowerFlow, data_id: str, *, now: datetime | None = None) -> TwinState:
        """Return the twin's state record.

        Args:
            model: The flow that was calibrated.
            data_id: What it was calibrated on, in words or as a file's name and hash.
            now: When the data were seen; the present by default.
        """
        names = [name for name in ("absorber_mm", "theta_deg") if name in self.parameters]
        valid = {n: Range(low=model.ranges[n][0], high=model.ranges[n][1]) for n in names}
        return TwinState(
            twin="calorimeter",
            data_id=data_id,
            parameters=self.parameters,
            valid_range=valid,
            model_version=f"flow {model.address or 'not saved'}",
            last_sync=now or datetime.now(UTC),
        ).checked(now=now)


def calibrate(
    model: ShowerFlow,
    showers: xr.Dataset,
    *,
    seed: int,
    settings: CalibrationParameters | None = None,
    absorber_mm: float | None = None,
) -> Calibration:
    """Fit the twin to measured showers of known energies, by the likelihood of their layer energies.

    Scale and thickness both change how much is seen; only the thickness changes at which depth.

    Args:
        model: A trained flow.
        showers: Measured, in the form of `simulate`; a few hundred will do.
        seed: Of the showers against which the fit is judged.
        settings: What is fitted.
        absorber_mm: Where the thickness begins, or stays; by default the middle of the trained range.

    Raises:
        ValueError: Nothing is to be fitted, there are too few showers or some without energy, or their
            energies lie outside the trained range.
    """
    free = _free(settings or CalibrationParameters())
    data = _layers(model, showers)
    start = _start(model, showers, absorber_mm, free, data)
    found = fit(model.members, data, start, free)
    values = {**start, **dict(zip(free, map(float, found.values), strict=True))}
    residual, score = _judged(model, showers, data, values, seed)
    score["converged"] = float(found.converged)
    return Calibration(_estimates(found), found, residual, score)


def measured(showers: xr.Dataset, energy_scale: float) -> xr.Dataset:
    """Return showers as a detector gives them that measures so many times the energy.

    >>> showers = xr.Dataset({"showers": ("shower", [2.0])})
    >>> float(measured(showers, 1.5)["showers"][0])
    3.0
    """
    return showers.assign(showers=showers["showers"] * energy_scale)


def _free(settings: CalibrationParameters) -> list[str]:
    free = [name for switch, name in _SWITCHES.items() if getattr(settings, switch)]
    if not free:
        raise ValueError(f"nothing is to be fitted: set one of {', '.join(_SWITCHES)}")
    return free


def _layers(model: ShowerFlow, showers: xr.Dataset) -> Layers:
    check_form(showers)
    n = showers.sizes["shower"]
    if n < MIN_SHOWERS:
        raise ValueError(f"{n} showers are too few to calibrate with: give {MIN_SHOWERS} or more")
    layers = showers["showers"].sum(("angle", "radius"), dtype=float).transpose("shower", ...).values
    if not (np.isfinite(layers).all() and (layers.sum(axis=1) > 0).all()):
        bad = np.flatnonzero(~(np.isfinite(layers).all(axis=1) & (layers.sum(axis=1) > 0)))[0]
        raise ValueError(f"showers: shower {bad} has no energy, or one that is not a number")
    energy, theta = (showers[name].values.astype(float) for name in ("energy_gev", "theta_deg"))
    low, high = model.ranges["energy_gev"]
    if energy.min() < low or energy.max() > high:
        raise ValueError(
            f"energy_gev = {energy.min():g} to {energy.max():g} GeV is not within {low:g} to {high:g}"
            " GeV, in which this flow was trained"
        )
    return Layers(*(torch.from_numpy(np.asarray(each)) for each in (layers, energy, theta)))


def _start(
    model: ShowerFlow,
    showers: xr.Dataset,
    absorber_mm: float | None,
    free: list[str],
    data: Layers,
) -> dict[str, float]:
    """Return where the fit begins: seen is as much as by the twin; the likeliest of a few scatters."""
    low, high = model.absorber_mm
    start = {"energy_scale": 1.0, "absorber_mm": absorber_mm or (low + high) / 2}
    start["resolution_squared"] = 0.0
    if "theta_deg" in free:
        start["theta_deg"] = float(data.theta_deg.mean())
    if "energy_scale" in free:
        drawn = infer(model, showers.assign_attrs(absorber_mm=start["absorber_mm"]), seed=0, member=0)
        seen = float(drawn["showers"].sum(dtype=float))
        start["energy_scale"] = float(data.layer_mev.sum()) / seen
    if "resolution_squared" in free:
        tried = [{**start, "resolution_squared": sigma**2} for sigma in _FIRST_SCATTERS]
        likely = [float(log_likelihood(model.members[0], data, each).mean()) for each in tried]
        start = tried[int(np.argmax(likely))]
    return start


def _estimates(found: Fit) -> dict[str, Estimate]:
    """Return values with errors of both kinds: of the showers, and of the flow by its jackknife."""
    n = len(found.members)
    apart = found.members - found.members.mean(axis=0)
    flow = (n - 1) / n * (apart**2).sum(axis=0)
    errors = np.sqrt(np.diag(found.covariance) + flow)
    estimates = {}
    for name, value, error in zip(found.names, found.values, errors, strict=True):
        if name == "resolution_squared":
            low, high = np.sqrt(max(value - error, 0.0)), np.sqrt(value + error)
            best = float(np.sqrt(value))
            estimates["resolution"] = Estimate(value=best, low=float(min(low, best)), high=float(high))
        else:
            estimates[name] = Estimate.of(value, error, FITTED[name][0])
    return estimates


def _judged(
    model: ShowerFlow, showers: xr.Dataset, data: Layers, values: Mapping[str, float], seed: int
) -> tuple[xr.Dataset, dict[str, float]]:
    """Return how the calibrated twin's layers differ, and how likely what was measured is to it."""
    drawn = _twin_layers(model, showers, data, values, seed)
    own = _likely(model, Layers(drawn[0], data.energy_gev, data.theta_deg), values)
    seen = _likely(model, data, values)
    away = (seen.mean() - own.mean()) / np.hypot(*(x.std() / np.sqrt(len(x)) for x in (seen, own)))
    n = len(data.energy_gev)
    both = data.layer_mev.numpy(), torch.stack(drawn).mean(dim=0).numpy()
    apart = both[0] - both[1]
    error = apart.std(axis=0, ddof=1) / np.sqrt(n)
    pull = np.divide(apart.mean(axis=0), error, out=np.zeros_like(error), where=error > 0)
    variables = {
        "measured": ("layer", both[0].mean(axis=0), {"units": "MeV", "long_name": "Measured"}),
        "twin": ("layer", both[1].mean(axis=0), {"units": "MeV", "long_name": "Calibrated twin"}),
        "pull": ("layer", pull, {"units": "1", "long_name": "Difference in standard errors"}),
    }
    about = {"units": "1", "long_name": "Layer"}
    residual = xr.Dataset(variables, {"layer": ("layer", np.arange(len(pull)), about)})
    score = {
        "p_value": float(2 * stats.norm.sf(abs(away))),
        "log_likelihood": float(seen.mean()),
        "log_likelihood_twin": float(own.mean()),
        "n_showers": float(n),
    }
    return residual, score


def _twin_layers(
    model: ShowerFlow, showers: xr.Dataset, data: Layers, values: Mapping[str, float], seed: int
) -> list[torch.Tensor]:
    """Return layer energies of the calibrated twin, as measured, for the same particles, some times."""
    asked = showers.assign_attrs(absorber_mm=values["absorber_mm"])
    if "theta_deg" in values:
        asked = asked.assign(theta_deg=asked["theta_deg"] * 0 + values["theta_deg"])
    rng = np.random.default_rng(seed)
    found = []
    for n in range(_N_TWIN):
        drawn = infer(model, asked, seed=seed + n, extrapolate=True)
        layers = drawn["showers"].sum(("angle", "radius"), dtype=float).values
        scatter = 1 + np.sqrt(values["resolution_squared"]) * rng.standard_normal((len(layers), 1))
        found.append(torch.from_numpy(layers * values["energy_scale"] * scatter))
    return found


def _likely(model: ShowerFlow, data: Layers, values: Mapping[str, float]) -> NDArray[np.float64]:
    each = [log_likelihood(member, data, values).numpy() for member in model.members]
    return np.mean(each, axis=0)
