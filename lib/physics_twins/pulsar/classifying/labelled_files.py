"""Frames of real recordings that somebody has labelled, as examples for a training."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from physics_twins.data import note_path
from physics_twins.pulsar.classifying.examples import chosen_examples, joined
from physics_twins.pulsar.classifying.labels import LABELS
from physics_twins.pulsar.formats.spectra import open_spectra
from physics_twins.pulsar.searching.frontend import FrontEnd
from physics_twins.pulsar.streams.frame_stream import looked_at, split_stream
from physics_twins.pulsar.verb_parameters import LabelParameters

COLUMNS = ("file", "start_s", "label")


def labelled_files(
    table: str | os.PathLike[str],
    sought: LabelParameters | None = None,
    *,
    takes: Callable[[int], bool] = lambda row: True,
) -> xr.Dataset:
    """Return the labelled frames of telescope files; of the band, any will do.

    Args:
        table: CSV with the columns `file`, beside the table or an absolute path; `start_s`, where the
            frame begins, as in a labelling's `labels.csv`; `label`, one of `LABELS`.
        sought: What the front end looks for, and how long a frame is.
        takes: Whether a row, counted from 0, is taken.

    Returns:
        As `examples.examples_of_stream`.

    Raises:
        ValueError: The table lacks a column, or a row has no such label or begins outside its file.
        ObservationFileError: A file is damaged or of no known format.
    """
    sought, table = sought or LabelParameters(), Path(table)
    rows = pd.read_csv(table, keep_default_na=False)
    if missing := [name for name in COLUMNS if name not in rows.columns]:
        raise ValueError(f"{table}: column {missing[0]}: missing; needed are {', '.join(COLUMNS)}")
    for row, label in enumerate(rows["label"]):
        if label not in LABELS:
            known = ", ".join(LABELS)
            raise ValueError(f"{table}: row {row}: label = {label!r}: expected one of {known}")
    found = []
    rows = rows.take([n for n in range(len(rows)) if takes(n)])
    for name, own in rows.groupby("file", sort=False):
        found += _of_file(table, str(name), own, sought)
    if not found:
        raise ValueError(f"{table}: holds no row that is taken")
    return joined(found).assign_attrs(title="Labelled frames of recordings")


def _of_file(table: Path, name: str, rows: pd.DataFrame, sought: LabelParameters) -> list[xr.Dataset]:
    """Return the examples of one file, block by block."""
    path = table.parent / name
    note_path(path)
    found = []
    with open_spectra(path) as source:
        sampling_s = source.header.sampling_time_s
        front_end = FrontEnd(source.band, sought)
        start_s = np.asarray(pd.to_numeric(rows["start_s"], errors="coerce"), dtype=float)
        place = start_s / (sampling_s * sought.frame_spectra)
        n_frames = source.n_spectra // sought.frame_spectra
        nearest = np.rint(place)
        inside = (np.abs(place - nearest) < 0.5 / sought.frame_spectra) & (nearest >= 0)
        inside &= nearest < n_frames
        for row, value in zip(rows.index[~inside], rows["start_s"][~inside], strict=True):
            raise ValueError(
                f"{table}: row {row}: start_s = {value}: expected the start of one of the {n_frames}"
                f" frames of {sought.frame_spectra} spectra ({sampling_s:g} s each) in {name}"
            )
        frame = nearest.astype(int)
        label = np.array([LABELS.index(text) for text in rows["label"]])
        for block in split_stream(source.n_spectra, front_end):
            own = (frame >= block.first_frame) & (frame < block.first_frame + block.n_frames)
            if own.any():
                frames = looked_at(source, block, front_end)
                chosen = frame[own] - block.first_frame + block.skipped
                found.append(chosen_examples(frames, chosen, label[own]))
    return found
