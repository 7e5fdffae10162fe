"""The figures of the calorimeter's parametrised baseline; part of `calorimeter.py`.

The parametrisation is fitted to showers of Geant4 and held against others, from 1 to 20 GeV and 0 to
30 degrees in the calorimeter of CaloChallenge's data set 2; the reference of a comparison is what no
difference gives.
"""

import time
from functools import cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from _calorimeter_parametrised import ParametrisedShower, fit_parametrised, generate
from _table import Figure, median_and_spread, this_machine
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.calorimeter.simulate import simulate

# Not used while any of this was written.
SEEDS = {"fit": 81_000, "test": 82_000, "drawn": 83_000, "time": 84_000}
SAMPLE = CalorimeterParameters(
    **CALO_CHALLENGE_2, energy_gev=1.0, energy_max_gev=20.0, theta_max_deg=30.0
)
N_FIT, N_TEST, N_DRAWN = 1000, 1000, 10_000
N_TIMINGS, N_TIMED = 9, 500
# Showers per sample in an error of a spread.
N_RESAMPLES = 200


def response_bias() -> Figure:
    """Mean energy in all cells, over that of Geant4, less one, in per cent."""
    (made, drawn), _ = _both(_response)
    # The fit knows the mean as well as N_FIT showers tell it.
    fit = _relative_error(made) * np.sqrt(N_TEST / N_FIT)
    error = np.sqrt(_relative_error(made) ** 2 + _relative_error(drawn) ** 2 + fit**2)
    return _figure(100 * float(drawn.mean() / made.mean() - 1), 100 * float(error), "%", 0.0)


def resolution() -> Figure:
    """Spread of the energy in cells around the energy, over that of Geant4.

    Half the width of the central 68 %: a shower that loses energy to a nucleus is not drawn.
    """
    return _figure(*_ratio_of_widths(*_both(_response)[0], *_both(_response)[1]), "", 1.0)


def longitudinal_profile() -> Figure:
    """Mean depth over that of Geant4, and its spread; half the sum of the profiles' differences."""
    (made, drawn), _ = _both(_depth)
    error = np.hypot(_relative_error(made), _relative_error(drawn))
    width = float(drawn.std() / made.std())
    distance = _distance(("angle", "radius"))
    values = [float(drawn.mean() / made.mean()), width, distance[0]]
    return _figure(values, [float(error), width / np.sqrt(2 * N_TEST), distance[1]], "", "1, 1, 0")


def lateral_profile() -> Figure:
    """Mean radius over that of Geant4; half the sum of the rings' differences."""
    (made, drawn), _ = _both(_radius)
    error = np.hypot(_relative_error(made), _relative_error(drawn))
    distance = _distance(("depth", "angle"))
    values = [float(drawn.mean() / made.mean()), distance[0]]
    return _figure(values, [float(error), distance[1]], "", "1, 0")


def occupancy() -> Figure:
    """Mean number of cells that are not empty, over that of Geant4."""
    (made, drawn), _ = _both(lambda s: (s["showers"] > 0).sum(_axes(s)).values)
    error = np.hypot(_relative_error(made), _relative_error(drawn))
    return _figure(float(drawn.mean() / made.mean()), float(error), "", 1.0)


def generation_ms() -> Figure:
    """Time that one core needs for a shower, 1 to 20 GeV; the reference is Geant4's at 10 GeV."""
    parameters = SAMPLE.replace(n_showers=N_TIMED)
    generate(_fitted(), parameters.replace(n_showers=1), seed=1)  # compiled
    spent_ms = []
    for n in range(N_TIMINGS):
        begun = time.process_time()
        generate(_fitted(), parameters, seed=SEEDS["time"] + n)
        spent_ms.append(1e3 * (time.process_time() - begun) / N_TIMED)
    value, spread = median_and_spread(spent_ms)
    return Figure(value, spread, "CPU-ms", 83.0, this_machine(), (SEEDS["time"],))


@cache
def _fitted() -> ParametrisedShower:
    return fit_parametrised(simulate(SAMPLE.replace(n_showers=N_FIT), seed=SEEDS["fit"]))


@cache
def _showers() -> tuple[xr.Dataset, xr.Dataset]:
    """Return showers of Geant4 that the fit has not seen, and drawn ones."""
    made = simulate(SAMPLE.replace(n_showers=N_TEST), seed=SEEDS["test"])
    return made, generate(_fitted(), SAMPLE.replace(n_showers=N_DRAWN), seed=SEEDS["drawn"])


def _both(of):
    """Return a number of each shower, of Geant4 and drawn, and the showers' energies."""
    showers = _showers()
    return [np.asarray(of(s), dtype=float) for s in showers], [s["energy_gev"].values for s in showers]


def _axes(showers: xr.Dataset) -> tuple[str, ...]:
    return tuple(map(str, showers["showers"].dims[1:]))


def _response(showers: xr.Dataset) -> NDArray[np.float64]:
    whole_mev = 1e3 * showers["energy_gev"].values
    return showers["showers"].sum(_axes(showers), dtype=float).values / whole_mev


def _depth(showers: xr.Dataset) -> NDArray[np.float64]:
    energy = showers["showers"].sum(("angle", "radius"), dtype=float)
    return ((energy * showers["depth"]).sum("depth") / energy.sum("depth")).values


def _radius(showers: xr.Dataset) -> NDArray[np.float64]:
    energy = showers["showers"].sum(("depth", "angle"), dtype=float)
    return ((energy * showers["radius"]).sum("radius") / energy.sum("radius")).values


def _distance(summed: tuple[str, str]) -> tuple[float, float]:
    """Return half the sum of absolute differences of mean profiles per energy, and what chance adds."""
    profiles = []
    for showers in _showers():
        each = (
            showers["showers"].sum(summed, dtype=float).values / showers["energy_gev"].values[:, None]
        )
        profiles.append(each / each.sum(axis=1).mean())
    made, drawn = profiles
    error = made.std(axis=0, ddof=1) / np.sqrt(len(made))
    distance = np.abs(made.mean(axis=0) - drawn.mean(axis=0)).sum() / 2
    return float(distance), float(error.sum() / 2)


def _ratio_of_widths(
    made: NDArray[np.float64],
    drawn: NDArray[np.float64],
    made_gev: NDArray[np.float64],
    drawn_gev: NDArray[np.float64],
) -> tuple[float, float]:
    """Return the ratio of relative spreads, scaled to one energy, and its error."""
    rng = np.random.default_rng(1)
    # Around the median, so that the response's change with energy does not count.
    one = (made - np.median(made)) * np.sqrt(made_gev)
    other = (drawn - np.median(drawn)) * np.sqrt(drawn_gev)
    again = [_width(rng.choice(one, len(one))) for _ in range(N_RESAMPLES)]
    ratio = _width(other) / _width(one)
    return float(ratio), float(ratio * np.std(again) / _width(one))


def _width(values: NDArray[np.float64]) -> float:
    low, high = np.quantile(values, [0.16, 0.84])
    return float(high - low) / 2


def _relative_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)) / values.mean())


def _figure(
    value: float | list[float], error: float | list[float], unit: str, reference: float | str
) -> Figure:
    seeds = (SEEDS["fit"], SEEDS["test"], SEEDS["drawn"])
    return Figure(value, error, unit, reference, this_machine(), seeds)


BENCHMARKS = {
    "baseline_response": response_bias,
    "baseline_resolution": resolution,
    "baseline_longitudinal": longitudinal_profile,
    "baseline_lateral": lateral_profile,
    "baseline_occupancy": occupancy,
    "baseline_generation_ms": generation_ms,
}
