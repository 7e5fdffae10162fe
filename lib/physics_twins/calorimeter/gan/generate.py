"""Showers of a trained 3DGAN, in the form of `simulate`."""

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter import form
from physics_twins.calorimeter.gan import images
from physics_twins.calorimeter.gan.model import ShowerGan
from physics_twins.calorimeter.gan.networks import LATENT, SHAPE
from physics_twins.calorimeter.geant4 import beam as beams
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.data import attributes

_AT_ONCE = 16


def generate_gan(model: ShowerGan, parameters: CalorimeterParameters, *, seed: int) -> xr.Dataset:
    """Return showers that the generator makes, on the CPU.

    Shower n of a seed is the same, to rounding, whatever the number of showers; its particle is that of
    `simulate`.

    Args:
        model: A trained 3DGAN.
        parameters: What enters, and the calorimeter that it was trained for.
        seed: Two calls with one seed give the same showers.

    Returns:
        What `simulate` returns, without what only Geant4 knows: leakage and the sensors' energies.

    Raises:
        ValueError: It is another calorimeter, particle or kind of cells, or outside the trained range.
    """
    model.check(parameters)
    beam = beams.draw(parameters, seed=seed, first=0, count=parameters.n_showers)
    cells = np.zeros((len(beam), *SHAPE), dtype=np.float32)
    for first in range(0, len(beam), _AT_ONCE):
        here = slice(first, first + _AT_ONCE)
        cells[here] = _cells(model, parameters, beam[here])
    facts = {
        "title": f"Showers of {parameters.particle}s in {parameters.absorber} and {parameters.sensor}",
        "made_by": f"3DGAN {model.address or 'not saved'}",
    }
    traced = attributes(parameters, seed=seed, **facts)
    return form.shower_dataset(parameters, beam, cells, {}, traced)


def _cells(
    model: ShowerGan, parameters: CalorimeterParameters, beam: beams.Beam
) -> NDArray[np.float32]:
    with torch.no_grad():
        made = model.networks.generator(torch.from_numpy(_inputs(beam))).numpy()
    return images.cells_mev(made, model.settings, threshold_kev=parameters.threshold_kev)


def _inputs(beam: beams.Beam) -> NDArray[np.float32]:
    """Return the generator's inputs; each shower has random numbers of its own."""
    noise = [
        np.random.Generator(np.random.Philox(key=int(stream))).standard_normal(LATENT - 2)
        for stream in beam.stream[:, 0]
    ]
    known = [beam.energy_gev / images.ENERGY_GEV, images.angle_to_face(beam.theta_deg, beam.phi_deg)]
    return np.column_stack([*known, np.stack(noise)]).astype(np.float32)
