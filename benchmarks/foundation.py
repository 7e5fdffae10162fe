"""Figures of the environment and of its main job, the search of a telescope file for pulses."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import xarray as xr
from nbformat.v4 import new_code_cell, new_notebook
from numpy.typing import NDArray
from scipy.stats import beta

from _pulsar_files import pulses_in
from _table import Figure, median_and_spread, peak_memory_mb, run_benchmarks, this_machine
from physics_twins.pulsar.evaluate import evaluate
from physics_twins.pulsar.figures.search_plots import BOXCAR_LIMIT
from physics_twins.pulsar.files import FilterbankHeader, FilterbankWriter
from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.parameters import ObservationParameters, SearchParameters
from physics_twins.pulsar.physics.ism import dispersion_delay
from physics_twins.pulsar.simulate import simulate

N_PAIRS = 5
N_REFUSALS = 9
NAME = "trivial/1_print"
# Not used while the search was written.
HELD_OUT_SEEDS = tuple(range(7000, 7020))


def run_overhead() -> Figure:
    """How much longer `twins run` takes than plain papermill on the same trivial notebook."""
    with _trivial_project() as project:
        out = str(project / "out.ipynb")
        papermill = ["papermill", f"notebooks/{NAME}.ipynb", out, "-p", "seed", "3"]
        twins = ["physics_twins.cli", "run", NAME, "-p", "seed=3", "--force"]
        extra_s = [_seconds(project, *twins) - _seconds(project, *papermill) for _ in range(N_PAIRS)]
    value, error = median_and_spread(extra_s)
    return Figure(value, error, "s", reference=1.0, device=this_machine())


def bad_parameter() -> Figure:
    """How long a wrong parameter takes to be refused, the start of the process included."""
    with _trivial_project() as project:
        wrong = ["physics_twins.cli", "run", NAME, "-p", "seed=-1"]
        spent_s = [_seconds(project, *wrong, status=2) for _ in range(N_REFUSALS)]
    value, error = median_and_spread(spent_s)
    return Figure(value, error, "s", reference=1.5, device=this_machine())


def burst(name: str) -> Figure:
    """One property of the strongest pulse in a real ASKAP file, from a blind search up to DM 600."""
    table = pulses_in("pulsar/askap_frb_28.fil", dm_max_pc_cm3=600.0)
    if not len(table):
        raise RuntimeError("no pulse was found")
    others = table["snr"].iloc[1:]
    if (others > 8).any():
        raise RuntimeError(f"{int((others > 8).sum())} further pulses above S/N 8")
    # Errors: unit noise for S/N; for time half a boxcar over S/N; for DM that time across the band.
    snr, width_s = float(table["snr"].iloc[0]), float(table["width_s"].iloc[0])
    time_error_s = width_s / 2 / snr
    band_delay_s = float(dispersion_delay(1130.0, 1.0, reference_mhz=1465.0))
    dm_error = float(time_error_s * np.sqrt(12) / band_delay_s)
    errors = {"snr": 1.0, "dm_pc_cm3": dm_error, "time_s": time_error_s}
    # Reference: an independent search of the same file.
    reference = {"snr": 16.0, "dm_pc_cm3": 475.5, "time_s": 2.028}[name]
    unit = {"snr": "", "dm_pc_cm3": "pc cm-3", "time_s": "s"}[name]
    return Figure(float(table[name].iloc[0]), errors[name], unit, reference, this_machine())


def parkes_pulses() -> Figure:
    """Candidates labelled pulse in a real Parkes file with much interference and no pulse."""
    n_pulses = len(pulses_in("pulsar/parkes_8bit_1.fil", dm_max_pc_cm3=100.0))
    return Figure(n_pulses, None, "", reference=0, device=this_machine())


def injected_recall() -> Figure:
    """Share of pulses with ideal S/N of 9 or more that a search finds, with its 68 % upper error."""
    scores = _injected()
    found = np.concatenate([np.isfinite(s["snr"].values[_sought_mask(s)]) for s in scores])
    n, k = len(found), int(found.sum())
    # Clopper-Pearson: the lower end of the interval; symmetric errors are wrong near 1.
    lower = float(beta.ppf(0.16, k, n - k + 1)) if k else 0.0
    return Figure(k / n, k / n - lower, "", 1.0, this_machine(), HELD_OUT_SEEDS)


def injected_false() -> Figure:
    """Candidates labelled pulse that are none, in the same observations; Poisson error."""
    n_false = sum(int(s["n_false"]) for s in _injected())
    return Figure(n_false, max(1.0, n_false**0.5), "", 0, this_machine(), HELD_OUT_SEEDS)


def injected_dm_error() -> Figure:
    """Largest error of the DM of those pulses, and the root mean square as its error."""
    errors = np.concatenate([s["dm_error_pc_cm3"].values[_sought_mask(s)] for s in _injected()])
    errors = errors[np.isfinite(errors)]
    rms = float(np.sqrt(np.mean(errors**2)))
    largest = float(np.abs(errors).max())
    return Figure(largest, rms, "pc cm-3", 1.0, this_machine(), HELD_OUT_SEEDS)


def injected_snr_ratio() -> Figure:
    """S/N found over ideal S/N of those pulses, median and spread, beside the limit of any boxcar."""
    ratio = np.concatenate(
        [(s["snr"] / s["pulse_snr_ideal"]).values[_sought_mask(s)] for s in _injected()]
    )
    value, spread = median_and_spread(ratio[np.isfinite(ratio)].tolist())
    return Figure(value, spread, "", BOXCAR_LIMIT, this_machine(), HELD_OUT_SEEDS)


def stream_memory() -> Figure:
    """Peak memory of a process that cleans and searches a file of 4 GB, Python itself included."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "long.fil")
        _write_noise(path, n_bytes=4_000_000_000)
        code = (
            "import sys; from physics_twins.pulsar.infer import infer;"
            "from physics_twins.pulsar.parameters import SearchParameters as P;"
            "infer(P(dm_min_pc_cm3=56.0, dm_max_pc_cm3=58.0, width_max_ms=5.0), sys.argv[1])"
        )
        value = peak_memory_mb(code, str(path))
    return Figure(value, None, "MB", 300.0, this_machine(), (0,))


@cache
def _injected() -> list[xr.Dataset]:
    """Return the scores of searches of simulated observations with the default parameters."""
    scores = []
    for seed in HELD_OUT_SEEDS:
        observation = simulate(ObservationParameters(), seed=seed)
        scores.append(evaluate(observation, infer(SearchParameters(), observation)))
    return scores


def _sought_mask(scores: xr.Dataset) -> NDArray[np.bool_]:
    return scores["complete"].values & (scores["pulse_snr_ideal"].values >= 9)


def _write_noise(path: Path, *, n_bytes: int) -> None:
    """Write an 8-bit file of noise with 256 channels."""
    header = FilterbankHeader(256, 8, 1529.375, -1.25, 102.4e-6)
    rng = np.random.default_rng(0)
    noise = rng.normal(96, 16, (1 << 16, 256)).clip(0, 255).astype(np.uint8)
    with FilterbankWriter(path, header) as file:
        for _ in range(n_bytes // noise.nbytes + 1):
            file.write(noise)


@contextmanager
def _trivial_project() -> Iterator[Path]:
    """Yield a project whose only notebook prints its seed."""
    cells = [
        new_code_cell('seed = 1\non = "local"\nrun_dir = ""', metadata={"tags": ["parameters"]}),
        new_code_cell("print(seed)"),
    ]
    notebook = new_notebook(cells=cells)
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "physics_twins": {"parameters": ["physics_twins.parameters:Execution"]},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "notebooks", f"{NAME}.ipynb")
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
        yield Path(folder)


def _seconds(project: Path, module: str, *arguments: str, status: int = 0) -> float:
    """Return how long a Python command takes; it must end with the expected status."""
    shown = {key: value for key, value in os.environ.items() if key != "PHYSICS_TWINS_RUNS"}
    command = [sys.executable, "-m", module, *arguments]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=project, env=shown, capture_output=True, text=True, check=False)
    spent_s = time.perf_counter() - begun
    if done.returncode != status:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-300:]}")
    return spent_s


BENCHMARKS = {
    "frb_snr": lambda: burst("snr"),
    "frb_dm": lambda: burst("dm_pc_cm3"),
    "frb_time_s": lambda: burst("time_s"),
    "parkes_pulses": parkes_pulses,
    "injected_recall": injected_recall,
    "injected_false": injected_false,
    "injected_dm_error": injected_dm_error,
    "injected_snr_ratio": injected_snr_ratio,
    "stream_memory_mb": stream_memory,
    "run_overhead_s": run_overhead,
    "bad_parameter_s": bad_parameter,
}

if __name__ == "__main__":
    sys.exit(bool(run_benchmarks(BENCHMARKS)))
