"""Search an observation, simulated or recorded, block by block."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from physics_twins.clusters import results
from physics_twins.pulsar.formats.spectra import Observation, Spectra, open_spectra
from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.physics.ism import Band
from physics_twins.pulsar.searching.cells import BASELINE_WIDTHS, CELL
from physics_twins.pulsar.searching.cleaning import prepare
from physics_twins.pulsar.searching.search import FRAME, Candidate, detect, strongest_first

logger = logging.getLogger(__name__)

# What a block holds at most, so that memory does not grow with the number of channels: a block needs
# some four bytes a sample.
MAX_BLOCK_SAMPLES = 4_000_000


@dataclass(frozen=True)
class Block:
    """Part of an observation that is cleaned and searched at once.

    Attributes:
        start: First spectrum.
        n_core: Spectra in which pulses that arrive belong to this block.
        n_read: Spectra read from there; beyond the core lies what a dispersed pulse needs to cross
            the band.
        n_before: Spectra before the first that filters need.
    """

    start: int
    n_core: int
    n_read: int
    n_before: int


def infer(search: SearchParameters, data: Observation, *, client: Any = None) -> xr.Dataset:
    """Search an observation for dispersed pulses.

    Args:
        search: Range and thresholds.
        data: A dataset with `data` (time, frequency), or the path of a file that
            `files.open_observation` knows, which is streamed.
        client: A Dask client that shares the blocks; None works here. Its workers must see the file.

    Returns:
        For each candidate, strongest first: `dm_pc_cm3`, `time_s` (arrival at the highest channel),
        `snr`, `width_s` (full width at half maximum of the filter that sees it best), `label`,
        `probability` (candidate). For each channel: how much of it was removed, `removed_fraction`
        (frequency). The attribute `missing_fraction` says which part of the samples carried no data,
        and was left out.

    Raises:
        ValueError: There is nothing to search: no spectra, or one channel, which has no dispersion.
        ObservationFileError: The file is damaged or of no known format.
    """
    with open_spectra(data, whole=True) as spectra:
        band = spectra.band
        blocks = list(split_blocks(spectra.n_spectra, band, search))
        results = _search_all(spectra, blocks, search, client)
        options: dict[str, Any] = {"desc": "search", "unit": "block", "leave": False}
        short = len(blocks) == 1
        parts = list(tqdm(results, total=len(blocks), disable=short, **options))
    candidates = merge([c for part in parts for c in part.candidates], band)
    return _result(candidates, parts, blocks, band, search)


def candidate_table(result: xr.Dataset) -> pd.DataFrame:
    """Return the candidates as the table that is written to `candidates.csv`."""
    names = ["dm_pc_cm3", "time_s", "snr", "width_s", "label", "probability"]
    return pd.DataFrame({name: result[name].values for name in names})


def excerpt(data: Observation, start_s: float, duration_s: float) -> xr.Dataset:
    """Return part of an observation, cut at its ends, the highest frequency first.

    Args:
        data: As for `infer`; of a file only this part is read.
        start_s: From the start of the observation.
        duration_s: Length.
    """
    with open_spectra(data, whole=True) as spectra:
        sampling_s, n_spectra = spectra.header.sampling_time_s, spectra.n_spectra
        start = min(max(0, round(start_s / sampling_s)), n_spectra)
        stop = min(n_spectra, start + max(1, round(duration_s / sampling_s)))
        if not isinstance(data, xr.Dataset):
            return spectra.part(start, stop - start)
    return data.isel(time=slice(start, stop)).sortby("frequency", ascending=False)


def split_blocks(n_spectra: int, band: Band, search: SearchParameters) -> Iterator[Block]:
    """Yield blocks that cover an observation; a rest shorter than half a block joins the last."""
    reach_s = search.dm_max_pc_cm3 * band.delay_s_per_dm + 2e-3 * search.width_max_ms
    overlap = int(np.ceil(reach_s / band.sampling_s))
    before = -(-int(2e-3 * search.width_max_ms / band.sampling_s) // FRAME) * FRAME
    n_wanted = min(search.block_s / band.sampling_s, MAX_BLOCK_SAMPLES / len(band.frequency_mhz))
    # Level and noise are told beside the widest pulse.
    n_wanted = max(n_wanted, BASELINE_WIDTHS * 1e-3 * search.width_max_ms / band.sampling_s)
    length = max(round(n_wanted), overlap, 1)
    start = 0
    while start < n_spectra:
        last = n_spectra - start < length + max(length // 2, overlap)
        n_core = n_spectra - start if last else length
        yield Block(start, n_core, min(n_core + overlap, n_spectra - start), min(before, start))
        start += n_core


@dataclass(frozen=True)
class BlockResult:
    """What was found in one block; times count from the start of the observation."""

    candidates: list[Candidate]
    missing_fraction: float
    removed_fraction: NDArray[np.float64]


def search_block(
    spectra: NDArray[Any], band: Band, block: Block, search: SearchParameters
) -> BlockResult:
    """Clean and search one block.

    Args:
        spectra: Counts, shape (time, channel), the highest frequency first.
        band: The receiver.
        block: Where the spectra lie in the observation.
        search: Range and thresholds.
    """
    width_max = 1e-3 * search.width_max_ms / band.sampling_s
    prepared = prepare(spectra, delays=band.delays(search.dm_max_pc_cm3), width_max=width_max)
    start_s = block.start * band.sampling_s
    where = {"n_core": block.n_core, "start": block.n_before}
    candidates = detect(prepared, band, search, **where, start_s=start_s)
    core = slice(block.n_before, block.n_before + block.n_core)
    cells = prepared.cells.removed[block.n_before // CELL : -(-core.stop // CELL)]
    return BlockResult(
        candidates,
        0.0 if prepared.missing is None else float(prepared.missing[core].mean()),
        np.where(prepared.good, cells.mean(axis=0), 1.0),
    )


def search_file_block(path: str, block: Block, search: SearchParameters) -> BlockResult:
    """Search one block of a file; a Dask worker calls this."""
    with open_spectra(path, whole=True) as spectra:
        return search_block(_read(spectra, block), spectra.band, block, search)


def merge(candidates: list[Candidate], band: Band) -> list[Candidate]:
    """Return the candidates of all blocks, strongest first, each event once."""
    column = {name: np.array([getattr(c, name) for c in candidates]) for name in _NUMBERS}
    dm_pc_cm3, time_s, width_s, snr = (column[n] for n in ("dm_pc_cm3", "time_s", "width_s", "snr"))
    strongest = strongest_first(dm_pc_cm3, time_s, width_s, snr, band.delay_s_per_dm)
    return [candidates[n] for n in strongest]


_NUMBERS = {"dm_pc_cm3": "pc cm-3", "time_s": "s", "snr": "1", "width_s": "s"}


def _search_all(
    spectra: Spectra, blocks: list[Block], search: SearchParameters, client: Any
) -> Iterator[BlockResult]:
    """Yield the result of each block in order."""
    if client is not None and spectra.path is not None:
        path = str(spectra.path.resolve())
        calls = (partial(search_file_block, path, block, search) for block in blocks)
    else:
        band = spectra.band
        calls = (partial(search_block, _read(spectra, b), band, b, search) for b in blocks)
    return results(client, calls)


def _read(spectra: Spectra, block: Block) -> NDArray[Any]:
    """Return a block's spectra, shape (time, channel), the highest frequency first."""
    return spectra.read(block.start - block.n_before, block.n_before + block.n_read)


def _result(
    candidates: list[Candidate],
    parts: list[BlockResult],
    blocks: list[Block],
    band: Band,
    search: SearchParameters,
) -> xr.Dataset:
    core = [block.n_core for block in blocks]
    removed = np.average([part.removed_fraction for part in parts], axis=0, weights=core)
    missing = float(np.average([part.missing_fraction for part in parts], weights=core))
    if missing:
        logger.warning("%.3g %% of the samples carry no data and were left out", 100 * missing)
    numbers = {
        name: ("candidate", np.array([getattr(c, name) for c in candidates]), {"units": units})
        for name, units in (_NUMBERS | {"probability": "1"}).items()
    }
    return xr.Dataset(
        numbers
        | {
            "label": ("candidate", np.array([c.label for c in candidates], dtype=str), {"units": "1"}),
            "removed_fraction": ("frequency", removed, {"units": "1"}),
        },
        coords={"frequency": ("frequency", band.frequency_mhz, {"units": "MHz"})},
        attrs=search.to_attributes()
        | {"sampling_time_s": band.sampling_s, "delay_s_per_dm": band.delay_s_per_dm}
        | {"missing_fraction": missing},
    )
