"""The folder that a labelling writes: table, decision log, alerts, pieces, and how far it has come.

Three files are only ever appended to. `progress.json` says to which length they are complete, so that
a labelling that was killed is taken up again there: what stands behind is cut off.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import read_json, write_json
from physics_twins.pulsar.classifying.labels import LABELS
from physics_twins.pulsar.streams.frame_stream import LabelledBlock
from physics_twins.pulsar.streams.keeping import Piece

TABLE, DECISIONS, ALERTS, PROGRESS, PIECES = (
    "labels.csv",
    "decisions.jsonl",
    "alerts.jsonl",
    "progress.json",
    "pieces",
)
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
            for name in (TABLE, DECISIONS, ALERTS):
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
        label = block.labels.label
        columns = (
            frame,
            frame * frame_s,
            np.array(LABELS)[label],
            np.take_along_axis(block.labels.probability, label[:, None], axis=1)[:, 0],
            block.labels.p_pulse,
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
        return self._append(DECISIONS, what, facts)

    def log_alert(self, **facts: Any) -> dict[str, Any]:
        """Append a line to the alerts and to the decision log, and return it."""
        line = self._append(ALERTS, "alert", facts)
        self._files[ALERTS].flush()
        self._append(DECISIONS, "alert", facts)
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

    def _append(self, name: str, what: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        line = {"what": what, "when": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}
        self._files[name].write((json.dumps(line) + "\n").encode())
        return line


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


def read_lines(folder: str | os.PathLike[str], name: str = DECISIONS) -> list[dict[str, Any]]:
    """Return the lines of the decision log or of the alerts; none where there is no such file."""
    path = Path(folder, name)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


def decision_table(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the pieces that are kept, with the reason and the strongest candidate of each."""
    names = ["start_s", "duration_s", "why", "label", "p_pulse", "snr", "dm_pc_cm3", "width_ms"]
    lines = [line for line in read_lines(folder) if line["what"] == "kept"]
    return pd.DataFrame([{name: line[name] for name in names} for line in lines], columns=names)


def pulse_table(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Return what was measured of each kept pulse; an error is half the 68 % interval's length."""
    kept = [line for line in read_lines(folder) if line["what"] == "kept"]
    measured = [line["measured"] for line in kept if "snr" in line.get("measured", {})]
    names = ["time_s", "dm_pc_cm3", "width_ms", "snr"]
    columns = [column for name in names for column in (name, f"{name}_error")] + ["p_value"]
    return pd.DataFrame([_measured_row(pulse, names) for pulse in measured], columns=columns)


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
class Progress:
    """The state of a labelling between two blocks.

    Attributes:
        facts: What must be the same for it to go on: the observation, parameters, classifier.
        finished: Whether the whole observation is labelled.
        next_frame: First frame without a label.
        counts: How many frames have each of `LABELS`.
        n_pieces: Pieces written.
        kept_spectra: Spectra in them.
        kept_until: Spectrum after the last that is in a piece.
        n_spectra: Spectra that the observation held when it was finished.
        last_other: Last frame labelled "other".
        n_alerts: Alerts raised.
        missing_frames: Frames' worth of samples that carry no data.
        seconds: Time spent.
        open: The piece that later frames may still join.
    """

    facts: dict[str, Any]
    finished: bool = False
    next_frame: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * len(LABELS))
    n_pieces: int = 0
    kept_spectra: int = 0
    kept_until: int = 0
    n_spectra: int = 0
    last_other: int = -2
    n_alerts: int = 0
    missing_frames: float = 0.0
    seconds: float = 0.0
    open: Piece | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the state written by `to_dict`; further names are ignored."""
        known: dict[str, Any] = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        if known.get("open"):
            known["open"] = Piece.from_dict(known["open"])
        return cls(**known)


@dataclass(frozen=True)
class Labelling:
    """What a labelling has come to.

    Attributes:
        folder: Where its table, its log and its pieces are.
        finished: Whether the whole observation is labelled.
        n_frames: Frames labelled.
        counts: How many have each label.
        n_pieces: Pieces kept.
        kept_spectra: Spectra in them.
        n_spectra: Spectra of all frames labelled.
        is_shorter: Whether it is finished, and the observation has grown since.
        n_alerts: Alerts raised.
        missing_fraction: Share of the samples that carry no data.
        seconds: Time spent, over all calls.
    """

    folder: Path
    finished: bool
    n_frames: int
    counts: dict[str, int]
    n_pieces: int
    kept_spectra: int
    n_spectra: int
    is_shorter: bool
    n_alerts: int
    missing_fraction: float
    seconds: float

    @classmethod
    def nothing(cls, folder: Path) -> Self:
        """Return what a labelling comes to that has not begun."""
        return cls(folder, False, 0, dict.fromkeys(LABELS, 0), 0, 0, 0, False, 0, 0.0, 0.0)

    @property
    def deleted_fraction(self) -> float:
        """Share of the spectra that are in no piece."""
        return 1 - self.kept_spectra / max(1, self.n_spectra)

    def labels(self) -> xr.Dataset:
        """Return the table of all frames, as `label_files.read_labels` does."""
        return read_labels(self.folder)

    def decisions(self) -> pd.DataFrame:
        """Return the pieces that are kept and why, as `label_files.decision_table` does."""
        return decision_table(self.folder)

    def pulses(self) -> pd.DataFrame:
        """Return the pulses that were fitted, with errors, as `label_files.pulse_table` does."""
        return pulse_table(self.folder)
