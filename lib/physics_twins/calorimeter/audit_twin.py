"""Audit a flow for one energy, angle and thickness against Geant4's showers, fired on workers.

The real showers are those of `simulate`, each with a seed of its own, compared in their order: the
result is the same whatever the number of workers. Batches are requested ahead, so that no worker waits
while the last one is compared; what is not needed is cancelled.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from physics_twins.calorimeter import samples
from physics_twins.calorimeter.audit import ALPHA, Audit, audit
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.simulate import chunk
from physics_twins.clusters import results
from physics_twins.data import open_dataset, save

N_TWIN = 1000
# The twin's showers have another seed than the real ones, which share their particles otherwise.
_TWIN_SEED = 1_000_003
# Showers that a worker makes at once, and how many of those are requested for each worker.
_PIECE_SHOWERS, _PIECES_AHEAD = 10, 3


def audit_twin(
    model: ShowerFlow,
    parameters: CalorimeterParameters,
    *,
    seed: int,
    n_showers: int = 500,
    batch: int = 50,
    n_twin: int = N_TWIN,
    alpha: float = ALPHA,
    go_on: bool = False,
    client: Any = None,
    folder: str | Path | None = None,
    extrapolate: bool = False,
    progress: bool = True,
    on_batch: Callable[[Audit], None] | None = None,
) -> xr.Dataset:
    """Fire showers of Geant4 until the flow is rejected or enough have been seen.

    Args:
        model: A trained flow.
        parameters: Energy, angle and thickness that are audited; `n_showers` of it is not used.
        seed: Of the real showers; the flow's have another.
        n_showers: Real showers at most.
        batch: So many are compared at once.
        n_twin: Showers of the flow.
        alpha: Largest probability of a false alarm, at any stopping time.
        go_on: Whether to go on after the flow is rejected, for a closer look at its bias.
        client: A Dask client whose workers make the real showers; by default this process does.
        folder: Where the real showers are kept; an audit that was interrupted finds them there and goes
            on. By default they are not kept.
        extrapolate: Whether energies, angles and thickness may lie outside the trained range.
        progress: Whether to show a progress bar.
        on_batch: Called with the test after each batch.

    Returns:
        As `audit.audit`, with the attribute `model`; `verdict` says "not rejected after n showers" or
        "rejected here", and at which.

    Raises:
        ValueError: The flow is not for these showers, or the folder holds those of another audit.
        Geant4Error: Geant4 gave up on a shower.
        KeyboardInterrupt: The user stopped it; the workers stop soon.
    """
    asked = parameters.replace(n_showers=n_twin)
    twin = generate(model, asked, seed=seed + _TWIN_SEED, extrapolate=extrapolate)
    with Showers(parameters, seed, n_showers, client=client, folder=folder, progress=progress) as real:
        options = {"alpha": alpha, "go_on": go_on, "on_batch": on_batch}
        found = audit(real, twin, seed=seed, n_showers=n_showers, batch=batch, **options)
    return found.assign_attrs(model=model.address)


class Showers:
    """Showers of Geant4 in their order, requested ahead; a context that cancels what is left.

    It is called with the first shower and how many, one batch after the other, as `audit` does.
    """

    def __init__(
        self,
        parameters: CalorimeterParameters,
        seed: int,
        n_showers: int,
        *,
        client: Any = None,
        folder: str | Path | None = None,
        progress: bool = False,
    ) -> None:
        """Begin; nothing is requested yet.

        Raises:
            ValueError: The folder holds other showers.
        """
        from tqdm.auto import tqdm

        self._parameters, self._seed, self._n_showers = parameters, seed, n_showers
        self._client, self._folder = client, None if folder is None else Path(folder).expanduser()
        if self._folder:
            samples.claim(self._folder, parameters, seed)
        self._coming: Any = results(None, ())
        self._next = -1
        self._piece = (-1, xr.Dataset())
        self._bar = tqdm(total=n_showers, unit="shower", disable=not progress)

    def __enter__(self) -> "Showers":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel what was requested and not taken."""
        self._bar.close()
        self._coming.close()

    def __call__(self, first: int, count: int) -> xr.Dataset:
        """Return showers number `first` and following, in the form of `simulate`."""
        pieces = []
        while count > 0:
            start = first - first % _PIECE_SHOWERS
            if self._piece[0] != start:
                self._piece = start, self._made(start)
            found = self._piece[1].isel(shower=slice(first - start, first - start + count))
            pieces.append(found)
            first, count = first + found.sizes["shower"], count - found.sizes["shower"]
            self._bar.update(found.sizes["shower"])
        options: Any = {"join": "exact", "data_vars": "minimal", "coords": "minimal"}
        return xr.concat(pieces, "shower", compat="equals", combine_attrs="drop_conflicts", **options)

    def _made(self, first: int) -> xr.Dataset:
        """Return a whole piece, from the folder where it is there."""
        count = min(_PIECE_SHOWERS, self._n_showers - first)
        if not self._folder:
            return self._fired(first, count)
        path = self._folder / f"showers-from-{first:07d}.nc"
        if path.is_file():
            found = open_dataset(path)
            if found.sizes["shower"] >= count:
                return found
        made = self._fired(first, count)
        save(made, path)
        return made

    def _fired(self, first: int, count: int) -> xr.Dataset:
        """Return a piece from workers, who make the next ones meanwhile."""
        if self._next != first:  # the first, or pieces between were in the folder
            self._coming.close()
            told = partial(chunk, self._parameters, self._seed)
            starts = range(first, self._n_showers, _PIECE_SHOWERS)
            sizes = (min(_PIECE_SHOWERS, self._n_showers - start) for start in starts)
            calls = (partial(told, *each) for each in zip(starts, sizes, strict=True))
            self._coming = results(self._client, calls, ahead=_PIECES_AHEAD)
        self._next = first + count
        return next(self._coming)
