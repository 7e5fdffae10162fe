"""Simulate a field theory on a lattice: independent chains, on this machine or on a cluster."""

from collections.abc import Iterator
from functools import partial
from itertools import count
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import erfcinv

from physics_twins.clusters import results
from physics_twins.data import attributes
from physics_twins.lattice import abelian, gauge, scalar
from physics_twins.lattice.parameters import LatticeParameters

DIRECTIONS = ("t", "x", "y", "z")
_METROPOLIS_AIM = 0.5
_TUNING_ROUNDS = (16, 16, 8, 4, 2)  # parts of the first half of the warm-up
_FIRST_STEPS = 10


def simulate(
    parameters: LatticeParameters,
    *,
    seed: int,
    client: Any = None,
    progress: bool = False,
) -> xr.Dataset:
    """Return chains of measurements and some of their fields.

    Chain n of a seed is the same whatever the number of chains, of workers, and who makes it.

    Args:
        parameters: The theory, its lattice, and how it is sampled.
        seed: Two calls with one seed give the same chains.
        client: A Dask client whose workers make the chains; by default this process does.
        progress: Whether to show a progress bar.

    Returns:
        Histories, (chain, measurement): of phi4 `magnetisation`, `phi2`, `phi4`, `action` for each site
        and `structure`, the power at the smallest momentum; of gauge fields `plaquette` and `charge` or
        `polyakov_real`, `polyakov_imaginary`; of all `accepted`, which part of the updates before a
        measurement was. For each chain `acceptance` of its updates and `setting`,
        what was tuned: steps of a trajectory or width of proposals. `field`, the kept ones, with an
        axis for each direction; angles of U(1) or matrices of SU(N) stand on links.

    Raises:
        KeyboardInterrupt: The user stopped it; the workers stop soon.
    """
    from tqdm.auto import tqdm

    calls = [partial(chain, parameters, seed, number) for number in range(parameters.n_chains)]
    made = results(client, calls)
    found: list[xr.Dataset] = list(tqdm(made, total=len(calls), unit="chain", disable=not progress))
    return xr.concat(found, "chain", join="exact", combine_attrs="identical")


def chain(parameters: LatticeParameters, seed: int, number: int) -> xr.Dataset:
    """Return one chain of a simulation, in the form of `simulate`.

    A module's function with plain arguments: it can be sent to workers.
    """
    field, update, setting = _warmed(parameters, seed, number)
    ends = np.linspace(0, parameters.n_measurements, max(1, parameters.n_kept) + 1).astype(int)
    histories, kept, accepted = [], [], 0.0
    for n in np.diff(ends):
        share, series = update(setting, n, parameters.interval)
        histories.append(series)
        accepted += share * n / parameters.n_measurements
        kept.append(theory_of(parameters).in_space(field, parameters).copy())
    fields, history = np.array(kept[: parameters.n_kept]), np.concatenate(histories)
    found = _dataset(parameters, seed, number, history, accepted, setting)
    if len(fields):
        found["field"] = as_fields(fields, parameters)
        found = found.assign_coords(kept=("kept", ends[1:], _pure("Measurement of a kept field")))
    return found


def running(
    parameters: LatticeParameters, *, seed: int, piece: int, number: int = 0
) -> Iterator[xr.Dataset]:
    """Yield a chain piece by piece while it runs, without an end; all pieces are those of `chain`.

    Args:
        parameters: As in `simulate`; `n_measurements`, `n_chains` and `n_kept` do not count.
        seed: As in `simulate`.
        piece: Measurements of each piece, which keeps the field at its end.
        number: Which chain.
    """
    field, update, setting = _warmed(parameters, seed, number)
    for start in count(0, piece):
        accepted, series = update(setting, piece, parameters.interval)
        found = _dataset(parameters, seed, number, series, accepted, setting)
        found["field"] = as_fields(
            theory_of(parameters).in_space(field, parameters)[None].copy(), parameters
        )
        updates = found["measurement"] + start * parameters.interval
        yield found.assign_coords(measurement=updates, kept=("kept", [start + piece], _pure("Kept")))


def _warmed(parameters: LatticeParameters, seed: int, number: int) -> tuple[Any, Any, float]:
    """Return the field of a chain after its warm-up, what updates it, and the tuned setting."""
    theory = theory_of(parameters)
    rng = np.random.default_rng([seed, number])
    field = theory.start(parameters, rng)
    update = partial(_update, theory, parameters, theory.tables(parameters), field, rng)
    setting = _tuned(theory, parameters, update)
    update(setting, parameters.n_warmup - parameters.n_warmup // 2, 1)
    return field, update, setting


def _dataset(
    parameters: LatticeParameters, seed: int, number: int, history: Any, accepted: float, setting: float
) -> xr.Dataset:
    found = _histories(theory_of(parameters), parameters, history)
    about = _pure("Part of updates that were accepted"), _pure("Steps, or width of proposals")
    found["acceptance"] = ("chain", [accepted], about[0])
    found["setting"] = ("chain", [float(setting)], about[1])
    size = " x ".join(map(str, parameters.shape))
    title = f"Chains of {parameters.theory} on {size} by {parameters.method}"
    found.attrs = attributes(parameters, seed=seed, title=title)
    return found.assign_coords(chain=("chain", [number], _pure("Number of a chain")))


def theory_of(parameters: LatticeParameters) -> ModuleType:
    """Return the module of a theory: `scalar`, `abelian` or `gauge`, which have the same functions."""
    return {"phi4": scalar, "u1": abelian}.get(parameters.theory, gauge)


def _update(
    theory: ModuleType,
    parameters: LatticeParameters,
    tables: tuple[Any, ...],
    field: Any,
    rng: np.random.Generator,
    setting: float,
    n: int,
    interval: int,
) -> tuple[float, Any]:
    """Measure `n` times, `interval` updates before each; return the part accepted and the values."""
    series = np.empty((n, len(theory.OBSERVABLES)))
    sampler, length = theory.SAMPLERS[parameters.method], parameters.trajectory_length
    share = theory.run(field, *tables, sampler, float(setting), length, interval, rng, series)
    return share, series


def _tuned(theory: ModuleType, parameters: LatticeParameters, update: Any) -> float:
    """Return the setting that a chain keeps: later tuning would change what it draws from."""
    molecular = parameters.method in ("hmc", "winding", "flux")
    setting, largest = (_FIRST_STEPS, 10_000) if molecular else theory.WIDTHS
    refused, aim = 0.0, parameters.acceptance  # the most steps that were too few
    for part in _TUNING_ROUNDS:
        accepted, _ = update(setting, max(1, parameters.n_warmup // (2 * part)), 1)
        if molecular:
            refused = max(refused, setting) if accepted < 0.8 * aim else refused
            # Acceptance is erfc of something that grows as the step squared (Gupta et al. 1990).
            factor = np.sqrt(erfcinv(np.clip(accepted, 0.02, 0.999)) / erfcinv(aim))
            fewest = 1.0 if part == _TUNING_ROUNDS[-1] else 0.7  # no number that was not tried
            setting = max(np.ceil(setting * np.clip(factor, fewest, 2.0)), refused + 1)
        else:
            setting *= np.clip(accepted / _METROPOLIS_AIM, 0.5, 2.0)
        setting = min(setting, largest)
    return setting


def _histories(theory: ModuleType, parameters: LatticeParameters, series: Any) -> xr.Dataset:
    updates = parameters.interval * np.arange(1, len(series) + 1)
    found = xr.Dataset(
        coords={"measurement": ("measurement", updates, _pure("Updates since the warm-up"))}
    )
    for number, name in enumerate(theory.OBSERVABLES):
        found[name] = (("chain", "measurement"), series[None, :, number], _pure(name))
    return found


def as_fields(fields: Any, parameters: LatticeParameters) -> xr.DataArray:
    """Return fields of one chain, as a theory's `in_space` has them, in the form of `simulate`."""
    dims = ("chain", "kept", *DIRECTIONS[: parameters.n_dimensions])
    if parameters.theory == "phi4":
        return xr.DataArray(fields[None], dims=dims, attrs=_pure("Field"))
    if parameters.theory == "u1":
        angles = {"units": "rad", "long_name": "Angle of links"}
        return xr.DataArray(fields[None], dims=(*dims, "direction"), attrs=angles)
    parts = np.stack([fields.real, fields.imag], axis=-1)  # files know no complex numbers
    inside = ("direction", "row", "column", "part")
    return xr.DataArray(parts[None], dims=(*dims, *inside), attrs=_pure("Matrices of links"))


def _pure(about: str) -> dict[str, str]:
    return {"units": "1", "long_name": about.replace("_", " ")}
