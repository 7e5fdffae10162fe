"""Whether a bright pulse is found as well as a faint one; part of `pulsar.py`."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from _table import Figure, share_error, this_machine
from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.labelling import label
from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.verb_parameters import LabelParameters

# Highest channel, channel width, channels, sampling: about ASKAP, Parkes, UTMOST, FAST, Effelsberg and
# the lower half of CHIME.
BANDS = {
    "ASKAP": (1465.0, 1.0, 336, 1.266e-3),
    "Parkes": (1516.5, 3.0, 96, 0.25e-3),
    "UTMOST": (850.0, 0.0977, 320, 0.655e-3),
    "FAST": (1450.0, 1.5625, 256, 0.197e-3),
    "Effelsberg": (1530.0, 1.25, 256, 0.1024e-3),
    "CHIME": (600.0, 0.78, 256, 0.983e-3),
}
SNRS = (10.0, 20.0, 40.0, 100.0, 300.0)
WIDTHS_MS = (0.5, 2.0, 8.0, 20.0)
SWEEPS = (2.5, 8.0, 40.0)  # widths that a pulse takes to cross the band
K_MHZ2_S = 4148.808
MAX_DM = 3000.0
SEED = 36_000


@dataclass(frozen=True)
class Cell:
    """One pulse in one recording."""

    name: str
    data: xr.Dataset
    dm_pc_cm3: float
    sweep_s: float
    time_s: float
    boxcar_snr: float

    @property
    def range(self) -> dict[str, Any]:
        """The DMs that are searched: from half to twice the pulse's own, as far as a search goes."""
        highest = min(2 * self.dm_pc_cm3, MAX_DM)
        return {"dm_min_pc_cm3": 0.5 * self.dm_pc_cm3, "dm_max_pc_cm3": highest}


def bright_recall() -> Figure:
    """Part of the pulses found as pulses, and the least S/N found over a boxcar's at the true DM."""
    found = np.array([_found(cell) for cell in _cells()])
    recall = float((found > 0).mean())
    worst = float(found.min())
    errors = [share_error(recall, len(found)), float(1 / min(SNRS))]
    return Figure([recall, worst], errors, "", "1.00, 0.85", this_machine(), (SEED,))


def bright_not_deleted() -> Figure:
    """How many of the pulses `label` marks deletable: no piece that is kept holds all of the sweep."""
    n_lost = sum(not _is_kept(cell) for cell in _cells())
    return Figure(float(n_lost), 0.0, "", 0.0, this_machine(), (SEED,))


@cache
def _cells() -> tuple[Cell, ...]:
    return tuple(_made())


def _made() -> Iterator[Cell]:
    for n, (name, snr, width_ms, sweep) in enumerate(product(BANDS, SNRS, WIDTHS_MS, SWEEPS)):
        top_mhz, width_mhz, n_channels, sampling_s = BANDS[name]
        frequency_mhz = top_mhz - width_mhz * np.arange(n_channels, dtype=np.float64)
        per_dm_s = K_MHZ2_S * (frequency_mhz[-1] ** -2 - top_mhz**-2)
        width_s = max(1e-3 * width_ms, sampling_s)
        dm = sweep * width_s / per_dm_s
        if not 2.0 <= dm <= MAX_DM:
            continue
        yield _cell(
            f"{name} {snr:g} {width_ms:g} {sweep:g}", frequency_mhz, sampling_s, dm, width_s, snr, n
        )


def _cell(
    name: str,
    frequency_mhz: NDArray[np.float64],
    sampling_s: float,
    dm: float,
    width_s: float,
    snr: float,
    seed: int,
) -> Cell:
    delay_s = K_MHZ2_S * dm * (frequency_mhz**-2 - frequency_mhz[0] ** -2)
    n = int(max(4096, (3 * delay_s[-1] + 40 * width_s + 0.5) / sampling_s)) // 256 * 256
    time_s = 0.3 * n * sampling_s
    t = (np.arange(n) + 0.5) * sampling_s
    channel_mhz = abs(frequency_mhz[1] - frequency_mhz[0])
    smear_s = 2 * K_MHZ2_S * dm * channel_mhz / frequency_mhz**3
    sigma_s = np.sqrt((width_s / 2.3548) ** 2 + smear_s**2 / 12)
    pulse = np.exp(-0.5 * ((t[:, None] - time_s - delay_s) / sigma_s) ** 2) / sigma_s
    noise = np.random.default_rng([SEED, seed]).normal(size=pulse.shape)
    counts = np.clip(np.rint(12 * (noise + snr * pulse / np.sqrt((pulse**2).sum())) + 96), 0, 255)
    data = xr.Dataset(
        {"data": (("time", "frequency"), counts.astype(np.uint8), {"units": "counts"})},
        {
            "time": ("time", t, {"units": "s"}),
            "frequency": ("frequency", frequency_mhz, {"units": "MHz"}),
        },
        {"sampling_time_s": sampling_s},
    )
    return Cell(name, data, dm, float(delay_s[-1]), time_s, _boxcar(counts, delay_s, sampling_s))


def _boxcar(counts: NDArray[np.float64], delay_s: NDArray[np.float64], sampling_s: float) -> float:
    """Return the S/N of the best boxcar at the true DM, each channel normalised by its own median."""
    middle = np.median(counts, axis=0)
    z = (counts - middle) / (1.4826 * np.median(np.abs(counts - middle), axis=0))
    shifts = np.rint(delay_s / sampling_s).astype(int)
    length = len(z) - shifts[-1]
    series = sum(z[k : k + length, c] for c, k in enumerate(shifts)) / np.sqrt(len(shifts))
    sums = np.concatenate([[0.0], np.cumsum(series)])
    widths = [w for n in range(12) for w in (2**n, 3 * 2**n) if w < length // 2]
    return max(float((sums[w:] - sums[:-w]).max()) / np.sqrt(w) for w in widths)


def _found(cell: Cell) -> float:
    """Return the S/N of the pulse that the search reports there over the boxcar's; 0 where none."""
    search = SearchParameters(**cell.range, width_max_ms=100.0)
    result = infer(search, cell.data)
    is_pulse = result["label"].values == "pulse"
    near = np.abs(result["time_s"].values - cell.time_s) < 0.25 * cell.sweep_s + 0.03
    snr = result["snr"].values[is_pulse & near]
    return float(snr.max(initial=0.0)) / cell.boxcar_snr


def _is_kept(cell: Cell) -> bool:
    parameters = LabelParameters(**cell.range)
    with tempfile.TemporaryDirectory() as folder:
        pieces = label(
            cell.data, parameters, out_folder=folder, measure=None, progress=False
        ).decisions()
    begins = pieces["start_s"] <= cell.time_s
    ends = pieces["start_s"] + pieces["duration_s"] >= cell.time_s + cell.sweep_s
    return bool((begins & ends).any())


BENCHMARKS = {"bright_recall": bright_recall, "bright_not_deleted": bright_not_deleted}
