"""How many times faster one program makes showers than another, in time of a processor."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr


def speed_up(
    fire: Callable[[float, int], Any],
    generate: Callable[[float, int], Any],
    energies_gev: Sequence[float],
    *,
    n_generated: int = 100,
    gev_fired: float = 100.0,
    n_repeats: int = 3,
) -> xr.Dataset:
    """Return how many times faster one program makes showers than another, energy by energy.

    Both are timed in turn in this process, so that a busy machine slows both.

    Args:
        fire: Makes so many showers of an energy in GeV, slowly, in a time in proportion to the energy.
        generate: Likewise, fast.
        energies_gev: Energies.
        n_generated: Showers that the fast one makes.
        gev_fired: Energy of all the showers together that the slow one makes; two at least.
        n_repeats: Times that each is measured.

    Returns:
        `ratio` of the processor times of a shower, median, and `spread`, half the width of the central
        68 %; `fired_ms` and `generated_ms` (energy_gev).
    """
    rows = []
    for energy in energies_gev:
        n_fired = max(int(gev_fired / energy), 2)
        generate(energy, 1)
        pairs = np.array(
            [
                [
                    _spent_s(lambda e=energy, n=n_fired: fire(e, n)) / n_fired,
                    _spent_s(lambda e=energy: generate(e, n_generated)) / n_generated,
                ]
                for _ in range(n_repeats)
            ]
        )
        low, middle, high = np.quantile(pairs[:, 0] / pairs[:, 1], [0.16, 0.5, 0.84])
        rows.append([middle, (high - low) / 2, *(1e3 * np.median(pairs, axis=0))])
    names = {"ratio": "1", "spread": "1", "fired_ms": "ms", "generated_ms": "ms"}
    columns = zip(names.items(), np.array(rows).T, strict=True)
    return xr.Dataset(
        {name: ("energy_gev", column, {"units": unit}) for (name, unit), column in columns},
        {"energy_gev": ("energy_gev", list(energies_gev), {"units": "GeV", "long_name": "Energy"})},
    )


def _spent_s(call: Callable[[], Any]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun
