"""How far a labelling has come, as a file keeps it, and what it has come to."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import pandas as pd
import xarray as xr

from physics_twins.pulsar.classifying.labels import LABELS
from physics_twins.pulsar.streams.keeping import Piece
from physics_twins.pulsar.streams.label_files import decision_table, pulse_table, read_labels


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
