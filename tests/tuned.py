"""Small functions that tests sweep and tune."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physics_twins.parameters import Parameters, field


class ValleyParameters(Parameters):
    """Where in a valley."""

    east_m: float = field(0.8, ge=0, le=1, unit="m", help="Way east")
    width_m: float = field(0.3, ge=1e-4, le=1, unit="m", help="Width", logarithmic=True)
    n_steps: int = field(7, ge=1, le=20, help="Steps")
    steep: bool = field(False, help="Whether it is steep")
    season: str = field("summer", help="When")


def depth(place: ValleyParameters, *, noise: float = 0.0, seed: int = 1) -> dict[str, Any]:
    """How deep the valley is."""
    clean = (place.east_m - 0.3) ** 2 + (np.log10(place.width_m) + 2) ** 2 + abs(place.n_steps - 5)
    error = noise * random.Random(f"{place} {seed}").gauss(0, 1)
    return {"depth": {"value": float(clean + error), "error": noise or None, "unit": "m"}}


def luck(east: float = 0.5, *, seed: int = 1) -> float:
    """A number that has nothing to do with `east`."""
    return random.Random(f"{east} {seed}").gauss(0, 1)


def cliff(east: float = 0.5, north: float = 0.5) -> dict[str, Any]:
    """A value that is not everywhere."""
    if east > 0.8:
        raise ValueError(f"nothing is east of 0.8, found {east}")
    return {"height": float("nan") if north > 0.8 else east + north, "count": 1}


def needy(east: float, *, north: float = 0.5) -> float:
    """A function that must be told where."""
    return (east - 0.3) ** 2 + north


class ScoreParameters(Parameters):
    """A number that is searched in factors, without a lowest value."""

    score_min: float = field(0.5, help="Score", logarithmic=True)


def logarithmic(score: ScoreParameters) -> float:
    """A function of a number in factors."""
    return score.score_min


def ordered(low: float = 0.2, high: float = 0.8) -> float:
    """A function whose arguments must fit together."""
    return high - low


def profile(east: float = 0.5, *, seed: int = 1) -> xr.Dataset:
    """A curve, and one number of it."""
    values = np.random.default_rng(seed).normal(east, 0.1, 5)
    return xr.Dataset(
        {
            "profile": ("place_m", values, {"units": "K"}),
            "mean": ((), values.mean(), {"units": "K"}),
            "mean_error": ((), values.std() / 5**0.5, {"units": "K"}),
        },
        coords={"place_m": ("place_m", np.arange(5.0), {"units": "m"})},
    )


def logged(east: float = 0.5, *, north: float = 0.5, log: str = "", dies: bool = False) -> float:
    """Write a line when done; where the file `log` has six lines, die once on the way."""
    time.sleep(0.02)
    path, mark = Path(log), Path(log + ".died")
    if dies and not mark.exists() and path.exists() and len(path.read_text().splitlines()) >= 6:
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with path.open("a") as file:
        file.write(f"{east} {north}\n")
    return (east - 0.3) ** 2 + (north - 0.6) ** 2
