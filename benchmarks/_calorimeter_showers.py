"""Showers of Geant4 that the calorimeter's figures are held against; part of `calorimeter.py`.

They are simulated once: a folder in PHYSICS_TWINS_SHOWERS keeps them for the next time.
"""

import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import xarray as xr

from physics_twins.calorimeter import samples
from physics_twins.calorimeter.parameters import CalorimeterParameters


def geant4_showers(name: str, told: Mapping[str, Any], *, seed: int) -> xr.Dataset:
    """Return showers of the training's kind, from a folder of this name, made where they are missing.

    Args:
        name: Of the folder.
        told: Parameters that differ from the training's; `n_showers` among them.
        seed: Theirs.
    """
    parameters = CalorimeterParameters(**{**samples.TRAINING, **told})
    folder = _folder() / name
    samples.make(folder, parameters, seed=seed, progress=False)
    return samples.open_sample(folder).isel(shower=slice(parameters.n_showers)).load()


@cache
def _folder() -> Path:
    return Path(os.environ.get("PHYSICS_TWINS_SHOWERS") or tempfile.mkdtemp())
