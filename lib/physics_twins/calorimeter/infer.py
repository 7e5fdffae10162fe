"""Draw showers from the trained flow, in the form of `simulate`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from physics_twins.calorimeter import form
from physics_twins.calorimeter.flow import drawing
from physics_twins.calorimeter.flow.network import conditions
from physics_twins.calorimeter.geant4 import beam as beams
from physics_twins.calorimeter.geant4.voxels import axes
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.data import attributes, of_members


def generate(
    model: ShowerFlow,
    parameters: CalorimeterParameters,
    *,
    seed: int,
    member: int | None = None,
    extrapolate: bool = False,
) -> xr.Dataset:
    """Return showers drawn from the flow.

    Shower n of a seed is the same, but for rounding, whatever the number of showers; its particle is
    that of `simulate`.

    Args:
        model: A trained flow.
        parameters: What enters, and the calorimeter that the flow was trained for.
        seed: Two calls with one seed give the same showers.
        member: Network of the ensemble that draws; by default all in turn, shower by shower.
        extrapolate: Whether energies, angles and thickness may lie outside the trained range.

    Returns:
        What `simulate` returns, without what only Geant4 knows: leakage and the sensors' energies.

    Raises:
        ValueError: It is another calorimeter, particle or kind of cells, or outside the trained range;
            or there is no such member.
    """
    model.check(parameters, extrapolate=extrapolate)
    beam = beams.draw(parameters, seed=seed, first=0, count=parameters.n_showers)
    return _drawn(model, parameters, beam, seed, member)


def infer(
    model: ShowerFlow,
    data: xr.Dataset,
    *,
    seed: int,
    member: int | None = None,
    extrapolate: bool = False,
) -> xr.Dataset:
    """Return a shower of the flow for each particle of other showers, to be held against those.

    Args:
        model: A trained flow.
        data: Showers in the form of `simulate`; their particles and thickness of absorbers are taken.
        seed: Two calls with one seed give the same showers.
        member: Network of the ensemble that draws; by default all in turn, shower by shower.
        extrapolate: Whether energies, angles and thickness may lie outside the trained range.

    Raises:
        ValueError: As for `generate`.
    """
    energy, theta = data["energy_gev"].values, data["theta_deg"].values
    asked = model.parameters.replace(
        absorber_mm=float(data.attrs.get("absorber_mm", model.parameters.absorber_mm)),
        energy_gev=float(energy.min()),
        energy_max_gev=float(energy.max()),
        theta_deg=float(theta.min()),
        theta_max_deg=float(theta.max()),
        n_showers=len(energy),
    )
    model.check(asked, extrapolate=extrapolate)
    place = [data[name].values if name in data else np.zeros(len(energy)) for name in ("x_mm", "y_mm")]
    phi = data["phi_deg"].values if "phi_deg" in data else np.zeros(len(energy))
    drawn = beams.draw(asked, seed=seed, first=0, count=len(energy))
    beam = replace(
        drawn,
        energy_gev=energy.astype(float),
        theta_deg=theta.astype(float),
        phi_deg=phi.astype(float),
        position_mm=np.stack(place, axis=1).astype(float),
    )
    return _drawn(model, asked, beam, seed, member)


def ensemble_mean(
    model: ShowerFlow,
    parameters: CalorimeterParameters,
    measure: Callable[[xr.Dataset], Any],
    *,
    seed: int,
) -> tuple[float, float]:
    """Return a number of the flow's showers, and the error that its training leaves in it.

    All members draw with the same random numbers.

    Args:
        model: A trained flow.
        parameters: As for `generate`.
        measure: What is asked of showers: one number.
        seed: Of the showers.
    """
    n = len(model.members)
    each = [float(measure(generate(model, parameters, seed=seed, member=m))) for m in range(n)]
    return float(np.mean(each)), float(of_members(each))


def _drawn(
    model: ShowerFlow,
    parameters: CalorimeterParameters,
    beam: beams.Beam,
    seed: int,
    member: int | None,
) -> xr.Dataset:
    n = len(model.members)
    if member is not None and not 0 <= member < n:
        raise ValueError(f"member = {member} must be from 0 to {n - 1}")
    energy, theta = (torch.from_numpy(a.astype(float)) for a in (beam.energy_gev, beam.theta_deg))
    known = conditions(energy, theta, torch.full_like(energy, parameters.absorber_mm)).float().numpy()
    shape = (len(axis.centres) for axis in axes(model.parameters))
    cells = np.zeros((len(beam), *shape), dtype=np.float32)
    told = (known, 1e3 * beam.energy_gev, beam.stream[:, 0])
    for number in range(n) if member is None else (member,):
        chosen = slice(number, None, n) if member is None else slice(None)
        conditioned, incident_mev, seeds = (np.ascontiguousarray(column[chosen]) for column in told)
        drawing.draw(model.weights[number], conditioned, incident_mev, seeds, cells[chosen])
    facts = {
        "title": f"Showers of {parameters.particle}s in {parameters.absorber} and {parameters.sensor}",
        "made_by": f"flow {model.address or 'not saved'}",
        "member": "all in turn" if member is None else str(member),
    }
    traced = attributes(parameters, seed=seed, **facts)
    return form.shower_dataset(parameters, beam, cells, {}, traced)
