"""The figures of the calorimeter's flow that ships; part of `calorimeter.py`.

It is held against 10,000 showers of Geant4 that neither taught it nor chose its weights, its ensemble
against 50,000. Simulating them takes two CPU-hours; a folder in PHYSICS_TWINS_SHOWERS keeps them.
"""

import time
from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import norm

from _calorimeter_distances import frechet_distance, kernel_distance, manifold_scores
from _calorimeter_showers import geant4_showers
from _table import Figure, median_and_spread, peak_memory_mb, share_error, this_machine
from physics_twins import models
from physics_twins.calorimeter import draw_onnx, part, samples
from physics_twins.calorimeter.evaluate import evaluate
from physics_twins.calorimeter.evaluating import response, timing
from physics_twins.calorimeter.evaluating.features import features, matrix
from physics_twins.calorimeter.flow import onnx_file
from physics_twins.calorimeter.infer import generate, infer
from physics_twins.calorimeter.model import load_flow
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.training_showers import N_TEST, TEST, TEST_SEED
from physics_twins.data import of_members

# Not used while any of this was written.
SEEDS = {"drawn": 62_000, "time": 63_000, "onnx": 64_000, "ensemble": 74_000}
TRAINING = CalorimeterParameters(**samples.TRAINING)
N_PARITY = 64
DISTANCES = (frechet_distance, kernel_distance)
BATCHES, N_TIMED, LEAST_S = (1, 100, 10_000), 5, 2.0
ENERGIES_GEV = (1.0, 3.0, 10.0, 30.0, 100.0)
# Bins of energy in which the ensemble is asked for its error.
N_BINS, N_REPEATS, N_FOR_ENSEMBLE = 20, 3, 50_000
LEVEL = 0.68
WIDTH = float(norm.ppf(0.5 + LEVEL / 2))  # standard deviations that such an interval reaches


def calochallenge_distances() -> Figure:
    """Frechet and kernel distance in 1e-3, precision, recall, density, coverage; beside Geant4's."""
    told = []
    for pair in _halves():
        sample, real = (matrix(features(each)) for each in pair)
        found = [distance(sample, real, seed=SEEDS["drawn"]) for distance in DISTANCES]
        told.append(np.array([*(1e3 * np.array(found)), *manifold_scores(sample, real).values()]))
    ours, floor = told
    seeds = (TEST_SEED, SEEDS["drawn"])
    columns = ours[:, 0].tolist(), ours[:, 1].tolist()
    reference = ", ".join(f"{each:.3g}" for each in floor[:, 0])
    return Figure(*columns, "1e-3, 1e-3, 1", reference, this_machine(), seeds)


def _halves() -> list[tuple[xr.Dataset, xr.Dataset]]:
    """Return what is compared with one half of the test: the flow's showers for it, the other half."""
    known, other = (_test().isel(shower=slice(n, None, 2)) for n in (0, 1))
    return [(infer(load_flow(), other, seed=SEEDS["drawn"]), known), (other, known)]


def separation_total_layers() -> Figure:
    """Separation power of the visible energy, and of layer energies, mean, in 1e-3."""
    return _metrics("separation_total", "separation_layers", reference="1, 5", unit="1e-3", factor=1e3)


def response_resolution() -> Figure:
    """Relative difference of response and resolution to Geant4's, mean over energies, in per cent.

    The resolution is that of the central 68 %: a standard deviation hangs on the few showers that lose
    much to nuclei.
    """
    drawn = infer(load_flow(), _test(), seed=SEEDS["drawn"])
    edges = response.energy_edges(_test()["energy_gev"].values)
    ours, theirs = (response.response_table(features(each), edges) for each in (drawn, _test()))
    pairs = [response.mean_difference(ours, theirs, name) for name in ("response", "core_resolution")]
    values, errors = (100 * np.array(pairs)).T.tolist()
    return Figure(values, errors, "%", "0.5, 3", this_machine(), (TEST_SEED, SEEDS["drawn"]))


def generation_ms_b1_large() -> Figure:
    """CPU time of a shower of 1 to 100 GeV, in batches of 1, 100 and 10,000."""
    flow = load_flow()

    def draw(n: int) -> None:
        generate(flow, TRAINING.replace(n_showers=n), seed=SEEDS["time"])

    draw(1)  # compiled
    found = [median_and_spread([_spent_ms(draw, n) for _ in range(N_TIMED)]) for n in BATCHES]
    values, spread = map(list, zip(*found, strict=True))
    return Figure(values, spread, "ms", "15, -, 2.5 asked", this_machine(), (SEEDS["time"],))


def onnx_ms() -> Figure:
    """CPU time of a shower from the ONNX file, in batches of 1 and 100, 1 to 100 GeV."""
    session = models.find(draw_onnx.NAME).onnx_session()
    told = {"theta_deg": 0.0, "absorber_mm": TRAINING.absorber_mm, "seed": SEEDS["onnx"]}

    def draw(n: int) -> None:
        draw_onnx.draw(session, np.geomspace(1, 100, n), **told)

    draw(1)
    found = [median_and_spread([_spent_ms(draw, n) for _ in range(N_TIMED)]) for n in (1, 100)]
    values, spread = map(list, zip(*found, strict=True))
    return Figure(values, spread, "ms", "-, 33 asked", this_machine(), (SEEDS["onnx"],))


def _spent_ms(draw: Callable[[int], None], n_showers: int) -> float:
    """Return the CPU time of a shower in batches of some size, over two seconds at least."""
    begun, n_done = time.process_time(), 0
    while (spent := time.process_time() - begun) < LEAST_S:
        draw(n_showers)
        n_done += n_showers
    return 1e3 * spent / n_done


def generation_memory_mb() -> Figure:
    """Size of the weights; peak memory of a process that draws one shower, and 10,000 at once."""
    code = (
        "import sys; from physics_twins.calorimeter.infer import generate;"
        "from physics_twins.calorimeter.model import load_flow;"
        "from physics_twins.calorimeter.parameters import CalorimeterParameters as P;"
        "generate(load_flow(), P.from_json(sys.argv[1]), seed=int(sys.argv[2]))"
    )
    values = [(models.find(draw_onnx.NAME).folder / "model.safetensors").stat().st_size / 1e6]
    for n in BATCHES[::2]:
        told = TRAINING.replace(n_showers=n).to_json(), str(SEEDS["time"])
        values.append(peak_memory_mb(code, *told))
    return Figure(values, None, "MB", "", this_machine(), (SEEDS["time"],))


def speed_up() -> Figure:
    """CPU time of Geant4 over that of the flow, in batches of 100, at 1, 3, 10, 30 and 100 GeV."""
    flow, seed = load_flow(), SEEDS["time"]

    def asked(energy: float, n: int) -> CalorimeterParameters:
        return TRAINING.replace(energy_gev=energy, energy_max_gev=0.0, n_showers=n)

    found = timing.speed_up(
        lambda energy, n: part(asked(energy, n), 0, n, seed=seed),
        lambda energy, n: generate(flow, asked(energy, n), seed=seed),
        ENERGIES_GEV,
        gev_fired=200.0,
        n_repeats=5,
    )
    values, spread = found["ratio"].values.tolist(), found["spread"].values.tolist()
    return Figure(values, spread, "x", "1", this_machine(), (seed,))


def onnx_parity() -> Figure:
    """Energy sums of ONNX and torch, largest relative difference of 64 showers."""
    flow, session = load_flow(), models.find(draw_onnx.NAME).onnx_session()
    found = onnx_file.energy_sum_deviation(flow.members[0], session, n=N_PARITY, seed=SEEDS["onnx"])
    return Figure(found, None, "", 1e-6, this_machine(), (SEEDS["onnx"],))


def ensemble_coverage() -> Figure:
    """How often 68 % intervals of flow means cover those of Geant4, in per cent.

    Response, depth, length, radius and part of empty cells, in 20 bins of energy. The intervals hold
    what members differ by, and what the number of showers leaves open. Each member draws three showers
    for a real one, all with the same random numbers; what chance still makes them differ by is told by
    the three, and taken off.
    """
    test, flow = geant4_showers(TEST, {"n_showers": N_FOR_ENSEMBLE}, seed=TEST_SEED), load_flow()
    real, n = features(test), len(flow.members)
    names = ("response", "depth_mm", "length_mm", "radius_mm", "empty")
    drawn_of = np.zeros((len(names), N_REPEATS, n, test.sizes["shower"]))
    for repeat, member in product(range(N_REPEATS), range(n)):
        told = features(infer(flow, test, seed=SEEDS["ensemble"] + repeat, member=member))
        drawn_of[:, repeat, member] = [told[name].values for name in names]
    covered = []
    order = np.argsort(test["energy_gev"].values)
    for name, drawn in zip(names, drawn_of, strict=True):
        for rows in np.array_split(order, N_BINS):
            # Each shower is drawn for the particle of a real one: what they share cancels.
            away = drawn[..., rows].mean(axis=(0, 1)) - real[name].values[rows]
            variance = _members_variance(drawn[..., rows].mean(axis=2))
            sigma = np.sqrt(variance + away.var(ddof=1) / len(rows))
            covered.append(abs(away.mean()) < sigma * WIDTH)
    share = float(np.mean(covered))
    error = 100 * share_error(share, len(covered))
    return Figure(100 * share, error, "%", 100 * LEVEL, this_machine(), (TEST_SEED, SEEDS["ensemble"]))


def _members_variance(means: NDArray[np.float64]) -> float:
    """Return the square of what members differ by, without the chance that repeats show.

    Args:
        means: Shape (repeat, member).
    """
    away = means - means.mean(axis=1, keepdims=True)
    n_repeats, n = means.shape
    # Each is part of the mean that it is compared with.
    by_chance = away.var(axis=0, ddof=1).sum() / (n - 1) / n_repeats
    return max(float(of_members(away.mean(axis=0)) ** 2 - by_chance), 0.0)


def _metrics(*names: str, reference: str, unit: str, factor: float = 1.0) -> Figure:
    chosen = _evaluation().sel(sample="model", metric=list(names))
    values = (factor * chosen["value"].values).tolist()
    errors = (factor * chosen["error"].values).tolist()
    return Figure(values, errors, unit, reference, this_machine(), (TEST_SEED, SEEDS["drawn"]))


@cache
def _evaluation() -> xr.Dataset:
    drawn = infer(load_flow(), _test(), seed=SEEDS["drawn"])
    return evaluate(drawn, _test(), seed=SEEDS["drawn"])


@cache
def _test() -> xr.Dataset:
    return geant4_showers(TEST, {"n_showers": N_TEST}, seed=TEST_SEED)


BENCHMARKS = {
    each.__name__: each
    for each in (
        calochallenge_distances,
        separation_total_layers,
        response_resolution,
        generation_ms_b1_large,
        generation_memory_mb,
        speed_up,
        onnx_ms,
        onnx_parity,
        ensemble_coverage,
    )
}
