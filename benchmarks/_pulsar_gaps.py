"""What lost samples cost a search and a labelling; part of `pulsar.py`."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from _table import Figure, Skipped, median_and_spread, this_machine
from physics_twins.data import find_data_file
from physics_twins.pulsar.files import open_observation
from physics_twins.pulsar.formats.psrfits_writer import PsrfitsWriter
from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.labelling import label
from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.physics.ism import dispersion_delay
from physics_twins.pulsar.verb_parameters import sought_in_band

SEED, N_FILES = 37_000, 100
N_SPECTRA, N_CHANNELS, SAMPLING_S = 15_616, 128, 256e-6
DM_PC_CM3, WIDTH_S, SNR, ARRIVAL = 60.0, 2e-3, 15.0, 8000
LOST, SHORTEST_S, LONGEST_S = 0.05, 4e-3, 0.4
KINDS = ("nan", "zero", "last value", "full scale")
SEARCH = SearchParameters(dm_min_pc_cm3=20.0, dm_max_pc_cm3=120.0)
ROW_SPECTRA = 720  # the last row of a pair's PSRFITS file is filled up


def masked_snr() -> Figure:
    """S/N over what the samples that are left make of it, median; false pulses in all files."""
    ratios, n_false = [], 0
    for n in range(N_FILES):
        rng = np.random.default_rng([SEED, n])
        whole, pulse = _recording(rng)
        lost = _gaps(rng)
        found = infer(SEARCH, _as_dataset(_with_gaps(whole, lost, KINDS[n % len(KINDS)], rng)))
        is_pulse = found["label"].values == "pulse"
        near = np.abs(found["time_s"].values - ARRIVAL * SAMPLING_S) < 5e-3
        n_false += int((is_pulse & ~near).sum())
        share = np.sqrt((pulse[~lost] ** 2).sum() / (pulse**2).sum())
        expected = share * _snr_of(infer(SEARCH, _as_dataset(whole)))
        if share > 0.7:  # else there is hardly a pulse left to find
            ratios.append(found["snr"].values[is_pulse & near].max(initial=0.0) / expected)
    middle, spread = median_and_spread(ratios)
    errors = [spread / np.sqrt(len(ratios)), spread, 1.0]
    worst = float(np.quantile(ratios, 0.05))
    return Figure([middle, worst, n_false], errors, "", "0.9, -, 0", this_machine(), (SEED,))


def real_pairs() -> Figure:
    """How many more or fewer pieces are kept of PSRFITS with a filled-up last row than of SIGPROC."""
    differing = []
    for name in ("pulsar/askap_frb_28.fil", "pulsar/parkes_8bit_1.fil"):
        path = find_data_file(name)
        if path is None:
            raise Skipped(f"{name} is not here: twins data fetch {name}")
        differing.append(_difference(path))
    return Figure([float(n) for n in differing], [0.0, 0.0], "pieces", 0.0, this_machine(), ())


def _difference(path: Path) -> int:
    with open_observation(path) as file, tempfile.TemporaryDirectory() as folder:
        header, samples = file.header, file.read(0, file.n_spectra)
        sought = partial(sought_in_band, {})
        filled = -len(samples) % ROW_SPECTRA
        copy = Path(folder, "copy.sf")
        with PsrfitsWriter(copy, header, row_spectra=ROW_SPECTRA) as writer:
            writer.write(np.pad(samples, ((0, filled), (0, 0))))
        options = {"measure": None, "progress": False}
        ours = label(path, sought, out_folder=Path(folder, "a"), **options)
        theirs = label(copy, sought, out_folder=Path(folder, "b"), **options)
        return abs(ours.n_pieces - theirs.n_pieces)


def _recording(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return counts with a pulse in them, and the pulse, both (time, channel)."""
    delay = dispersion_delay(_frequency_mhz(), DM_PC_CM3, reference_mhz=_frequency_mhz()[0])
    away = (np.arange(N_SPECTRA)[:, None] - ARRIVAL) * SAMPLING_S - delay
    pulse = np.exp(-0.5 * (away / (WIDTH_S / 2.3548)) ** 2)
    noise = rng.normal(size=pulse.shape)
    counts = np.rint(96 + 16 * (noise + SNR * pulse / np.sqrt((pulse**2).sum()))).clip(0, 255)
    return counts, pulse


def _gaps(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which spectra are lost: gaps of all lengths that together are 5 %."""
    lost = np.zeros(N_SPECTRA, dtype=bool)
    while lost.mean() < LOST:
        length = round(SHORTEST_S * (LONGEST_S / SHORTEST_S) ** rng.random() / SAMPLING_S)
        length = min(length, round(1.2 * LOST * N_SPECTRA) - int(lost.sum()))
        start = rng.integers(N_SPECTRA - length)
        lost[start : start + length] = True
    return lost


def _with_gaps(
    counts: NDArray[np.float64], lost: NDArray[np.bool_], kind: str, rng: np.random.Generator
) -> NDArray[np.float32]:
    out = counts.astype(np.float32)
    if kind == "last value":
        for start in _starts(lost):
            stop = start + int(np.argmin(np.append(lost[start:], False)))
            out[start:stop] = out[start - 1] if start else out[stop]
        return out
    out[lost] = {"nan": np.nan, "zero": 0.0, "full scale": 255.0}[kind]
    return out


def _starts(lost: NDArray[np.bool_]) -> Iterator[int]:
    yield from (int(n) for n in np.flatnonzero(lost & ~np.append(False, lost[:-1])))


def _frequency_mhz() -> NDArray[Any]:
    return 1500.0 - 300 / N_CHANNELS * np.arange(N_CHANNELS)


def _as_dataset(counts: NDArray[np.floating]) -> xr.Dataset:
    return xr.Dataset(
        {"data": (("time", "frequency"), counts.astype(np.float32), {"units": "counts"})},
        {
            "time": ("time", np.arange(N_SPECTRA) * SAMPLING_S, {"units": "s"}),
            "frequency": ("frequency", _frequency_mhz(), {"units": "MHz"}),
        },
        {"sampling_time_s": SAMPLING_S},
    )


def _snr_of(found: xr.Dataset) -> float:
    return float(found["snr"].values[0])


BENCHMARKS = {"masked_snr": masked_snr, "real_pairs": real_pairs}
