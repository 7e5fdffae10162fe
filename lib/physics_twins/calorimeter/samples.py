"""Large sets of showers on disk, made file by file in constant memory and resumed where they stopped.

A sample is a folder: `sample.json` (parameters and seed) and files of 1,000 showers each, in the
form of `simulate`:

```python
samples.make("showers", CalorimeterParameters(**samples.TRAINING, n_showers=5_000), seed=1)
```
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.data import note_path, open_dataset, read_json, save, write_json

if TYPE_CHECKING:
    import xarray as xr

PLAN = "sample.json"
SHOWERS_PER_FILE = 1000
# Electrons into the calorimeter of CaloChallenge's data set 2, from 1 to 100 GeV, inclined up to 30
# degrees; the cells are turned with the particle.
TRAINING: Mapping[str, Any] = {
    **CALO_CHALLENGE_2,
    "energy_gev": 1.0,
    "energy_max_gev": 100.0,
    "theta_max_deg": 30.0,
}


def make(
    folder: str | Path,
    parameters: CalorimeterParameters,
    *,
    seed: int,
    client: Any = None,
    progress: bool = True,
) -> list[Path]:
    """Simulate all showers that are not on disk yet; return the files, in the order of showers.

    Interrupted, by Ctrl-C or worse, it goes on where it was when it is called again.

    Args:
        folder: Where the sample is kept; made when missing.
        parameters: What is simulated; `n_showers` may grow from call to call.
        seed: Its seed.
        client: A Dask client whose workers make the showers.
        progress: Whether to show a progress bar for each file.

    Raises:
        ValueError: The folder holds another sample, or a file of it is damaged.
    """
    from physics_twins.calorimeter.simulate import part

    folder = Path(folder).expanduser()
    claim(folder, parameters, seed)
    files = []
    for path, first, count in _files(folder, parameters.n_showers):
        if not _is_complete(path, count):
            made = part(parameters, first, count, seed=seed, client=client, progress=progress)
            save(made, path)
        files.append(path)
    return files


def open_sample(folder: str | Path) -> "xr.Dataset":
    """Return all showers that a sample has so far, read lazily, file by file.

    The folder is noted, see `data.note`.

    Raises:
        FileNotFoundError: The folder holds no showers.
        ValueError: A file is damaged; the message names it.
    """
    import xarray as xr

    paths = sorted(Path(folder).expanduser().glob("showers-*.nc"))
    if not paths:
        raise FileNotFoundError(f"there are no showers in {folder}")
    note_path(Path(folder).expanduser())
    parts = [open_dataset(path, chunks={"shower": SHOWERS_PER_FILE}) for path in paths]
    options: Any = {"join": "exact", "data_vars": "minimal", "coords": "minimal", "compat": "equals"}
    return xr.concat(parts, "shower", combine_attrs="drop_conflicts", **options)


def claim(folder: Path, parameters: CalorimeterParameters, seed: int) -> None:
    """Note in a folder whose showers it holds, however many; refuse one that holds something else.

    Raises:
        ValueError: The folder holds another sample, or other files; the message says what differs.
    """
    values = {name: v for name, v in parameters.to_papermill().items() if name != "n_showers"}
    plan = {"parameters": values, "seed": seed}
    path = folder / PLAN
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ValueError(f"{folder} holds other files: give another folder")
        write_json(path, plan)
    elif (found := read_json(path)) != plan:
        known = {**found.get("parameters", {}), "seed": found.get("seed")}
        wanted = {**values, "seed": seed}
        differing = [name for name in wanted if known.get(name) != wanted[name]]
        there = json.dumps({name: known.get(name) for name in differing})
        raise ValueError(f"{folder} holds another sample, with {there}: give another folder")


def _files(folder: Path, n_showers: int) -> Iterator[tuple[Path, int, int]]:
    """Yield path, first shower and number of showers of each file."""
    for number, first in enumerate(range(0, n_showers, SHOWERS_PER_FILE)):
        count = min(SHOWERS_PER_FILE, n_showers - first)
        yield folder / f"showers-{number:05d}.nc", first, count


def _is_complete(path: Path, count: int) -> bool:
    """Return whether a file holds as many showers as it should; a shorter one was the end of fewer."""
    if not path.is_file():
        return False
    with open_dataset(path, chunks={}) as found:
        return found.sizes["shower"] >= count
