"""A piece of a PSRFITS file as a file of its own, with samples as stored where that can be."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from physics_twins.pulsar.formats.psrfits import PsrfitsReader, Scaling
from physics_twins.pulsar.formats.psrfits_writer import DEPTHS, PsrfitsWriter
from physics_twins.pulsar.formats.spectra import Spectra


def write(source: Spectra, path: Path, start: int, stop: int) -> None:
    """Write spectra `start` to `stop` of a PSRFITS file.

    Raises:
        TypeError: The source is something else.
    """
    reader = source.source
    if not isinstance(reader, PsrfitsReader):
        raise TypeError(f"{source.name}: is no PSRFITS file")
    header, n = source.header_from(start), reader.row_spectra
    rows = range(start // n, (stop - 1) // n + 1)
    scaling = _common_scaling(reader, rows)
    if scaling is None or header.n_bits not in DEPTHS:
        with PsrfitsWriter(path, replace(header, n_bits=32)) as file:
            source.copy_to(file, start, stop)
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
