"""The folder that a labelling writes: table, decision log, alerts, pieces, and how far it has come.

Three files are only ever appended to. `progress.json` says to which length they are complete, so that
a labelling that was killed is taken up again there: what stands behind is cut off.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import read_json, write_json
from physics_twins.pulsar.classifying.labels import LABELS
from physics_twins.pulsar.streams.frame_stream import LabelledBlock
from physics_twins.pulsar.streams.keeping import Piece

TABLE, DECISIONS, PROGRESS, PIECES = "labels.csv", "decisions.jsonl", "progress.json", "pieces"
# Columns of the table and their units; text has none.
COLUMNS: Mapping[str, str] = {
    "frame": "1",
    "start_s": "s",
    "label": "",
    "probability": "1",
    "p_pulse": "1",
    "snr": "1",
    "dm_pc_cm3": "pc cm-3",
    "time_s": "s",
    "width_ms": "ms",
    "missing_fraction": "1",
    "kept": "1",
    "reason": "",
}
_ROW = "%d,%.6f,%s,%.5f,%.4g,%.3f,%.3f,%.6f,%.4f,%.4f,%d,%s\n"


class LabelFolder:
    """A labelling's folder, opened to go on with it, best in a `with` block.

    Attributes:
        path: The folder.
        progress: What `progress.json` says, empty at the start.
    """

    def __init__(self, path: Path) -> None:
        """Open a folder, and cut its files to what is complete.

        Raises:
            ValueError: `progress.json` is damaged, or a file is shorter than it says.
        """
        self.path = path
        (path / PIECES).mkdir(parents=True, exist_ok=True)
        self.progress = read_json(path / PROGRESS) if (path / PROGRESS).is_file() else {}
        lengths = self.progress.get("bytes", {})
        self._files: dict[str, BinaryIO] = {}
        try:
            for name in (TABLE, DECISIONS):
                self._files[name] = _cut(path / name, int(lengths.get(name, 0)))
        except BaseException:
            self.close()
            raise
        if not lengths.get(TABLE):
            self._files[TABLE].write((",".join(COLUMNS) + "\n").encode())

    def __enter__(self) -> "LabelFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def add_frames(
        self, block: LabelledBlock, reasons: NDArray[np.str_], *, frame_s: float, sampling_s: float
    ) -> None:
        """Append a block's frames to the table."""
        frame = block.first_frame + np.arange(len(block))
        label = block.label
        columns = (
            frame,
            frame * frame_s,
            np.array(LABELS)[label],
            np.take_along_axis(block.probability, label[:, None], axis=1)[:, 0],
            block.p_pulse,
            block.snr,
            block.dm_pc_cm3,
            block.sample * sampling_s,
            block.width * sampling_s * 1e3,
            block.missing_fraction,
            reasons != "",
            reasons,
        )
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self._files[TABLE].write("".join(_ROW % row for row in rows).encode())

    def log(self, what: str, **facts: Any) -> dict[str, Any]:
        """Append a line to the decision log and return it."""
        line = {"what": what, "when": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}
        self._files[DECISIONS].write((json.dumps(line) + "\n").encode())
        self._files[DECISIONS].flush()
        return line

    def save(self, progress: Mapping[str, Any]) -> None:
        """Flush all files to the disk, and note in one step that they are complete."""
        lengths = {}
        for name, file in self._files.items():
            file.flush()
            os.fsync(file.fileno())
            lengths[name] = file.tell()
        self.progress = dict(progress) | {"bytes": lengths}
        write_json(self.path / PROGRESS, self.progress)


def read_labels(folder: str | os.PathLike[str]) -> xr.Dataset:
    """Return the label table of a folder, a variable for each column, all with dimension (frame).

    Raises:
        FileNotFoundError: No labelling has begun there.
        ValueError: The table is not one that a labelling writes.
    """
    path = Path(folder, TABLE)
    table = pd.read_csv(path, keep_default_na=False)
    if list(table.columns) != [*COLUMNS]:
        raise ValueError(f"{path}: columns are {', '.join(table.columns)}, not {', '.join(COLUMNS)}")
    variables = {
        name: ("frame", table[name].to_numpy(dtype=None if unit else str), {"units": unit or "1"})
        for name, unit in COLUMNS.items()
        if name != "frame"
    }
    return xr.Dataset(variables, {"frame": ("frame", table["frame"].to_numpy(), {"units": "1"})})


def read_lines(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the lines of the decision log; none where there is no such file."""
    path = Path(folder, DECISIONS)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


def _measured_row(pulse: Mapping[str, Any], names: list[str]) -> dict[str, float]:
    values = {name: pulse[name]["value"] for name in names}
    errors = {f"{name}_error": (pulse[name]["high"] - pulse[name]["low"]) / 2 for name in names}
    return values | errors | {"p_value": pulse["p_value"]}


def _cut(path: Path, n_bytes: int) -> BinaryIO:
    """Open a file to append to, cut to a length."""
    if n_bytes and (not path.is_file() or path.stat().st_size < n_bytes):
        found = path.stat().st_size if path.is_file() else 0
        raise ValueError(f"{path}: {n_bytes} bytes expected, {found} found: label into a new folder")
    file = path.open("r+b" if path.is_file() else "w+b")
    file.truncate(n_bytes)
    file.seek(n_bytes)
    return file


@dataclass
class Labelling:
    """What a labelling has come to; between two blocks its state.

    Attributes:
        folder: Where its table, its log and its pieces are.
        facts: What must be the same for it to go on.
        finished: Whether the whole observation is labelled.
        n_frames: Frames labelled.
        n_spectra: Their spectra.
        counts: How many have each label.
        n_pieces: Pieces kept.
        kept_spectra: Spectra in them.
        kept_until: The spectrum after the last of them.
        n_alerts: Alerts raised.
        last_other: The last frame that was "other".
        missing_frames: Frames' worth of samples that carry no data.
        seconds: Time spent, over all calls.
        open: The piece that later frames may join.
    """

    folder: Path
    facts: dict[str, Any]
    finished: bool = False
    n_frames: int = 0
    n_spectra: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))
    n_pieces: int = 0
    kept_spectra: int = 0
    kept_until: int = 0
    n_alerts: int = 0
    last_other: int = -2
    missing_frames: float = 0.0
    seconds: float = 0.0
    open: Piece | None = None

    @property
    def missing_fraction(self) -> float:
        """Share of the samples that carry no data."""
        return self.missing_frames / max(1, self.n_frames)

    @property
    def deleted_fraction(self) -> float:
        """Share of the spectra that are in no piece."""
        return 1 - self.kept_spectra / max(1, self.n_spectra)

    def summary(self) -> dict[str, float]:
        """Return its numbers by name."""
        names = "n_frames", "n_pieces", "n_alerts", "deleted_fraction", "missing_fraction"
        return {name: getattr(self, name) for name in names}

    def labels(self) -> xr.Dataset:
        """Return the table of all frames, as `label_files.read_labels` does."""
        return read_labels(self.folder)

    def decisions(self) -> pd.DataFrame:
        """Return the pieces that are kept, with the reason and the strongest candidate of each."""
        names = ["start_s", "duration_s", "why", "label", "p_pulse", "snr", "dm_pc_cm3", "width_ms"]
        kept = [{name: line[name] for name in names} for line in self._kept()]
        return pd.DataFrame(kept, columns=names)

    def pulses(self) -> pd.DataFrame:
        """Return what was measured of each kept pulse; an error is half the 68 % interval's length."""
        measured = [line["measured"] for line in self._kept() if "snr" in line.get("measured", {})]
        names = ["time_s", "dm_pc_cm3", "width_ms", "snr"]
        columns = [column for name in names for column in (name, f"{name}_error")] + ["p_value"]
        return pd.DataFrame([_measured_row(pulse, names) for pulse in measured], columns=columns)

    def _kept(self) -> list[dict[str, Any]]:
        return [line for line in read_lines(self.folder) if line["what"] == "kept"]
