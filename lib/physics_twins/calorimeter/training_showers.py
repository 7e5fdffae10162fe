"""The showers that the flow learns from, those that choose its weights, and those that test it.

Most have absorbers of CaloChallenge's thickness; of each other one there is a thirtieth as many by
default. Where a thicker absorber looks much as a lower gain does, it takes more of those.
At the default size, Geant4 makes them all in about 2.5 CPU-hours:

```python
training_showers.make("showers")
learning, validation = training_showers.open_training("showers")
```
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins.calorimeter import form, samples
from physics_twins.calorimeter.parameters import SILICON_LAYERS, CalorimeterParameters

if TYPE_CHECKING:
    import xarray as xr

N_SHOWERS, N_TEST = 30_000, 10_000
SEED, TEST_SEED = 51_000, 61_000
NOMINAL_MM = 1.4
OTHER_MM = (1.2, 1.25, 1.3, 1.35, 1.45, 1.5, 1.55, 1.6)
TEST = "test"
_SHARE = 30  # one part in so many: validation, and each other thickness


def plan(n_showers: int = N_SHOWERS, n_other: int = 0) -> dict[str, tuple[CalorimeterParameters, int]]:
    """Return parameters and seed of each sample that is learnt from, by the name of its folder.

    Args:
        n_showers: Of the nominal thickness.
        n_other: Of each other thickness; 0 stands for a thirtieth as many.

    Raises:
        ValueError: So few cannot be shared out.

    >>> sorted(plan(300))[:2], plan(300)["train-1.20mm"][0].n_showers
    (['train', 'train-1.20mm'], 10)
    """
    if n_showers < 2 * _SHARE:
        raise ValueError(f"n_showers = {n_showers} must be at least {2 * _SHARE}")
    found = {"train": (_parameters(n_showers, NOMINAL_MM), SEED)}
    for number, absorber_mm in enumerate(OTHER_MM, start=1):
        parameters = _parameters(n_other or n_showers // _SHARE, absorber_mm)
        found[f"train-{absorber_mm:.2f}mm"] = (parameters, SEED + number)
    return found


def read_out(readout: str = "cells") -> CalorimeterParameters:
    """Return the calorimeter, cells and particles of a flow that learnt what is read out so."""
    found = _parameters(N_SHOWERS, NOMINAL_MM)
    return found.replace(**SILICON_LAYERS) if readout == "layers" else found


def absorber_range_mm() -> tuple[float, float]:
    """Return the smallest and the largest thickness of absorbers that is learnt from."""
    return min(OTHER_MM), max(OTHER_MM)


def make(
    folder: str | Path,
    n_showers: int = N_SHOWERS,
    n_other: int = 0,
    *,
    n_test: int = N_TEST,
    client: Any = None,
    progress: bool = True,
) -> None:
    """Simulate all that are not there yet; interrupted, it goes on where it was when called again.

    Args:
        folder: Where the samples are kept, each in a folder of its own.
        n_showers: Of the nominal thickness.
        n_other: As for `plan`.
        n_test: To test on, of the nominal thickness.
        client: A Dask client whose workers make the showers.
        progress: Whether to show a progress bar for each file.

    Raises:
        ValueError: The folder holds other samples, or a damaged file.
    """
    wanted = plan(n_showers, n_other)
    if n_test:
        wanted[TEST] = (_parameters(n_test, NOMINAL_MM), TEST_SEED)
    for name, (parameters, seed) in wanted.items():
        place = Path(folder).expanduser() / name
        samples.make(place, parameters, seed=seed, client=client, progress=progress)


def open_training(
    folder: str | Path, n_showers: int = N_SHOWERS, n_other: int = 0, *, readout: str = "cells"
) -> tuple[list["xr.Dataset"], "xr.Dataset"]:
    """Return the showers to learn from, thickness by thickness, and those that choose the weights.

    The latter are the last of the nominal thickness, which are not learnt from.

    Args:
        folder: As for `make`.
        n_showers: Of the nominal thickness.
        n_other: As for `plan`.
        readout: As `FlowParameters.readout`: the same showers teach either.

    Raises:
        FileNotFoundError: There are none.
        ValueError: There are fewer, or a file is damaged.
    """
    learning = []
    for name, (parameters, _) in plan(n_showers, n_other).items():
        found = samples.open_sample(Path(folder).expanduser() / name)
        if found.sizes["shower"] < parameters.n_showers:
            raise ValueError(
                f"{folder}/{name} holds {found.sizes['shower']} of {parameters.n_showers} showers:"
                " call training_showers.make"
            )
        learning.append(_read(found, parameters.n_showers, readout))
    first = n_showers - n_showers // _SHARE
    validation = learning[0].isel(shower=slice(first, None))
    learning[0] = learning[0].isel(shower=slice(first))
    return learning, validation


def open_test(folder: str | Path, n_test: int = N_TEST, *, readout: str = "cells") -> "xr.Dataset":
    """Return the showers to test on, as for `open_training`."""
    return _read(samples.open_sample(Path(folder).expanduser() / TEST), n_test, readout)


def _read(showers: "xr.Dataset", n_showers: int, readout: str) -> "xr.Dataset":
    chosen = showers.isel(shower=slice(n_showers))
    return form.layers_alone(chosen) if readout == "layers" else chosen


def _parameters(n_showers: int, absorber_mm: float) -> CalorimeterParameters:
    values = {**samples.TRAINING, "absorber_mm": absorber_mm, "n_showers": n_showers}
    return CalorimeterParameters(**values)
