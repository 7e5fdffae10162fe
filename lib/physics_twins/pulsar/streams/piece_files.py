"""Pieces of an observation written as files of its own format, with their own start times."""

import dataclasses
from pathlib import Path

import numpy as np

from physics_twins.pulsar.formats.observation_file import FilterbankHeader, ObservationWriter
from physics_twins.pulsar.formats.psrfits import PsrfitsReader, Scaling
from physics_twins.pulsar.formats.psrfits_writer import DEPTHS, PsrfitsWriter
from physics_twins.pulsar.formats.sigproc import FilterbankWriter
from physics_twins.pulsar.formats.spectra import Spectra

CHUNK_SAMPLES = 1 << 22


def piece_name(source: Spectra, start: int) -> str:
    """Return the file name of the piece that begins at a spectrum."""
    stem = source.path.stem if source.path else "piece"
    suffix = ".sf" if isinstance(source.source, PsrfitsReader) else ".fil"
    return f"{stem}_{start:012d}{suffix}"


def write_piece(source: Spectra, folder: Path, start: int, stop: int) -> Path:
    """Write spectra `start` to `stop` and return the file.

    PSRFITS stays PSRFITS, at its own depth where one scale and offset of a single polarisation hold
    for the whole piece, else as 32-bit values; every other format and datasets become SIGPROC.
    """
    path = folder / piece_name(source, start)
    if isinstance(source.source, PsrfitsReader):
        _write_psrfits(source, source.source, path, start, stop)
    else:
        header = source.header_from(start)
        first = source.raw(start, 1)
        if first.dtype.kind != "u":
            header = dataclasses.replace(header, n_bits=32)
        with FilterbankWriter(path, _without_length(header)) as file:
            _copy(source, file, start, stop)
    return path


def _copy(source: Spectra, file: ObservationWriter, start: int, stop: int) -> None:
    step = max(1, CHUNK_SAMPLES // source.source_header.n_channels)
    for begin in range(start, stop, step):
        file.write(source.raw(begin, min(step, stop - begin)))


def _write_psrfits(source: Spectra, reader: PsrfitsReader, path: Path, start: int, stop: int) -> None:
    header, n = source.header_from(start), reader.row_spectra
    rows = range(start // n, (stop - 1) // n + 1)
    scaling = _common_scaling(reader, rows)
    if scaling is None or header.n_bits not in DEPTHS:
        with PsrfitsWriter(path, dataclasses.replace(header, n_bits=32)) as file:
            _copy(source, file, start, stop)
        return
    with PsrfitsWriter(path, header, scaling=scaling) as file:
        for row in rows:
            first, last = max(start, row * n), min(stop, (row + 1) * n)
            file.write(reader.samples(row, first - row * n, last - first)[:, 0])


def _common_scaling(reader: PsrfitsReader, rows: range) -> Scaling | None:
    """Return the scaling of all rows; None where they differ, one is lost, or samples are shifted."""
    if not all(map(reader.has_row, rows)):
        return None
    first = reader.scaling(rows[0])
    if len(first.scale) != 1 or reader.is_shifted:
        return None
    for row in rows:
        own = reader.scaling(row)
        if not all(
            np.array_equal(getattr(own, name), getattr(first, name))
            for name in ("scale", "offset", "weight")
        ):
            return None
    return first


def _without_length(header: FilterbankHeader) -> FilterbankHeader:
    """Leave out keywords that say something of the whole file."""
    others = tuple((name, value) for name, value in header.others if name != "rawdatafile")
    return dataclasses.replace(header, others=others)
