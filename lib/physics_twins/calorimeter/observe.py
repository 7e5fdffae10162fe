"""What the calibrated twin would measure: showers of the flow behind the detector's gain."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.infer import generate, infer
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.data import Estimate

# Between the seed of the showers and that of their gains.
_GAIN_STREAM = 7


def observe(
    model: ShowerFlow,
    state: Mapping[str, Estimate],
    particles: CalorimeterParameters | xr.Dataset,
    *,
    seed: int,
    member: int | None = None,
    extrapolate: bool = False,
) -> xr.Dataset:
    """Return showers as the twin measures them.

    Args:
        model: The flow.
        state: `energy_scale`, `resolution`, `absorber_mm` and `theta_deg` as far as they are known;
            without them the gain is 1, and thickness and angle are those of the particles.
        particles: What enters; or showers in the form of `simulate`, whose particles are taken.
        seed: Two calls with one seed have the same random numbers, whatever the state.
        member: Network of the ensemble that draws; by default all in turn.
        extrapolate: Whether energies, angles and thickness may lie outside the trained range.

    Raises:
        ValueError: As for `generate`.
    """
    known = {name: estimate.value for name, estimate in state.items()}
    told = {name: known[name] for name in ("absorber_mm", "theta_deg") if name in known}
    options = {"seed": seed, "member": member, "extrapolate": extrapolate}
    if isinstance(particles, CalorimeterParameters):
        if "theta_deg" in told:
            told["theta_max_deg"] = 0.0
        drawn = generate(model, particles.replace(**told), **options)
    else:
        drawn = infer(model, _entering(particles, told), **options)
    gain = gains(drawn.sizes["shower"], known.get("resolution", 0.0), seed=seed)
    return with_gain(drawn, known.get("energy_scale", 1.0) * gain)


def gains(n_showers: int, resolution: float, *, seed: int) -> NDArray[np.float64]:
    """Return log-normal gains of mean 1 and relative scatter `resolution`, shape (shower,)."""
    normal = np.random.default_rng([seed, _GAIN_STREAM]).standard_normal(n_showers)
    return np.exp(resolution * normal - resolution**2 / 2)


def with_gain(showers: xr.Dataset, gain: float | NDArray[np.float64]) -> xr.Dataset:
    """Return showers whose cells all see a gain, one for all or one for each shower.

    Args:
        showers: In the form of `simulate`.
        gain: A number, or shape (shower,).
    """
    cells = showers["showers"]
    factor = xr.DataArray(np.broadcast_to(np.float32(gain), cells.sizes["shower"]), dims="shower")
    seen = (cells * factor).transpose(*cells.dims).astype(np.float32).assign_attrs(cells.attrs)
    seen.encoding = dict(cells.encoding)
    return showers.assign(showers=seen)


def _entering(showers: xr.Dataset, told: Mapping[str, float]) -> xr.Dataset:
    """Return the particles of showers in a calorimeter that has another thickness or stands askew."""
    known = showers.assign_attrs(absorber_mm=told["absorber_mm"]) if "absorber_mm" in told else showers
    if "theta_deg" in told:
        angle = xr.full_like(showers["theta_deg"], told["theta_deg"])
        known = known.assign(theta_deg=angle)
    return known
