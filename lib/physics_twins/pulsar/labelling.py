"""Label every frame of a stream, keep the pieces that matter, and say why: block by block."""

import contextlib
import itertools
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from physics_twins.data import read_json, write_json
from physics_twins.pulsar.classifying.classifiers import Classifier, ThresholdClassifier
from physics_twins.pulsar.formats.spectra import Observation, open_spectra
from physics_twins.pulsar.physics.ism import Band
from physics_twins.pulsar.searching.frontend import FrontEnd
from physics_twins.pulsar.streams.label_files import LabelFolder, Labelling
from physics_twins.pulsar.streams.label_run import Alert, LabelRun, Measure, OtherLabellingError
from physics_twins.pulsar.streams.piece_files import measure_pulse
from physics_twins.pulsar.verb_parameters import KeepParameters, LabelParameters

# What is sought, or what tells it from an observation's band.
Sought = LabelParameters | Callable[[Band], LabelParameters]


def label(
    source: Observation,
    parameters: Sought,
    *,
    out_folder: str | os.PathLike[str],
    classifier: Classifier | None = None,
    keep: KeepParameters | None = None,
    alert: Alert | None = None,
    measure: Measure | None = measure_pulse,
    client: Any = None,
    more_to_come: bool = False,
    progress: bool = True,
) -> Labelling:
    """Label the frames of an observation, and keep what may be needed.

    The folder then holds `labels.csv` with a row for each frame (`read_labels`), `pieces/` with what
    is kept, each a file that can be searched again, and `decisions.jsonl` with a line for each piece
    and each alert. A call that was stopped goes on where it was; a finished one is found, not repeated.
    A process that was killed may raise the alerts of its last seconds again.

    Args:
        source: A dataset with `data` (time, frequency), or the path of a file that
            `files.open_observation` knows, which is streamed.
        parameters: What is sought, or what tells it from the observation's band.
        out_folder: Where to write.
        classifier: What labels frames; by default `ThresholdClassifier`.
        keep: What is kept, and what raises an alert.
        alert: Called with each alert as it stands in the log; its errors are logged and go no further.
        measure: Called for each piece with a pulse, as a dataset with what is beside it, and its
            strongest frame; what it returns goes into the log. None measures nothing.
        client: A Dask client that shares the blocks; its workers must see the file.
        more_to_come: The file is still being written: label what has all that it needs, and go on with
            the rest in a later call.
        progress: Whether a bar shows it.

    Raises:
        OtherLabellingError: The folder holds the labelling of something else.
        ValueError: There is no spectrum.
        ObservationFileError: The file is damaged or of no known format.
    """
    keep, classifier = keep or KeepParameters(), classifier or ThresholdClassifier()
    with open_spectra(source, drop_partial=more_to_come) as stream:
        if not isinstance(parameters, LabelParameters):
            parameters = parameters(stream.band)
        front_end = FrontEnd(stream.band, parameters)
        if more_to_come and stream.n_spectra < parameters.frame_spectra:
            return Labelling(Path(out_folder), {})
        with LabelFolder(Path(out_folder)) as folder:
            run = LabelRun(stream, folder, front_end, classifier, keep, alert=alert, measure=measure)
            if not run.state.finished:
                run.go(client, more_to_come, show=progress)
            return run.state


LEDGER = "ledger.json"
SUFFIXES = (".fil", ".sf", ".fits", ".psrfits", ".dada")
# Only these say in their first bytes all that is needed to read them while they grow.
GROWING_SUFFIXES = (".fil", ".dada")
COMPLETE, DAMAGED = "complete", "damaged"

_log = logging.getLogger(__name__)


@dataclass
class _Seen:
    """How large a file was when it was last looked at, when it was changed, and since when it rests."""

    size: int
    changed: int
    since: float
    labelled_size: int = -1


def label_folder(
    folder: str | os.PathLike[str],
    parameters: Sought,
    *,
    out_folder: str | os.PathLike[str],
    poll_s: float = 1.0,
    settled_s: float = 10.0,
    stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> dict[str, dict[str, Any]]:
    """Label every telescope file of a folder, and those that come, until asked to stop.

    A file is complete when its size has not changed for `settled_s`; a SIGPROC or PSRDADA file is
    labelled before, as far as it goes. What becomes of a file stands in `ledger.json`, so that none is
    labelled twice, whenever this is called again; a file that cannot be read is named there and left.
    A file that grows or changes afterwards, or is written anew under its name, is labelled again, into
    a folder of its own, `NAME~2`; what was kept before stays.

    Args:
        folder: Where files appear; those in folders below it are not looked at.
        parameters: What is sought, or what tells it from a file's band.
        out_folder: Where to write: a folder for each file, by its name.
        poll_s: How often to look.
        settled_s: For how long a complete file has not changed.
        stop: Asked between two looks; the first true answer ends the watch. Ctrl-C ends it, too, and
            what was written is complete.
        options: Further arguments of `label`.

    Returns:
        The ledger: for each file its `state` (`complete` or `damaged`), `bytes`, and what it came to.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: The ledger is damaged, or a file's folder holds a labelling with other parameters.
    """
    folder, out_folder = Path(folder), Path(out_folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    out_folder.mkdir(parents=True, exist_ok=True)
    path = out_folder / LEDGER
    ledger = read_json(path) if path.is_file() else {}
    watch = _Watch(folder, out_folder, parameters, settled_s, options, ledger)
    while True:
        last = stop()
        watch.look()
        if last:
            return watch.ledger
        time.sleep(poll_s)


@dataclass
class _Watch:
    """A folder being watched."""

    folder: Path
    out_folder: Path
    parameters: Sought
    settled_s: float
    options: dict[str, Any]
    ledger: dict[str, dict[str, Any]]
    seen: dict[str, _Seen] = field(default_factory=dict)

    def look(self) -> None:
        """Label what has come since the last look."""
        for path in sorted(self.folder.iterdir()):
            if path.suffix in SUFFIXES and path.is_file():
                with contextlib.suppress(FileNotFoundError):  # taken away since the folder was listed
                    self._look_at(path)

    def _look_at(self, path: Path) -> None:
        state, now = path.stat(), time.monotonic()
        size, changed = state.st_size, state.st_mtime_ns
        known = self.ledger.get(path.name)
        if known and (known["bytes"], known.get("changed", changed)) == (size, changed):
            return
        seen = self.seen.setdefault(path.name, _Seen(size, changed, now))
        if (size, changed) != (seen.size, seen.changed):
            seen.size, seen.changed, seen.since = size, changed, now
        complete = now - seen.since >= self.settled_s
        grown = path.suffix in GROWING_SUFFIXES and size != seen.labelled_size
        if not (complete or grown):
            return
        try:
            out, done = self._label(path, more_to_come=not complete)
        except OtherLabellingError:
            raise
        except ValueError as error:  # also an ObservationFileError
            if complete:  # a file that has only begun may be sound later
                facts = {"bytes": size, "changed": changed, "error": str(error)}
                self._remember(path.name, state=DAMAGED, **facts)
                _log.warning("%s", error)
            return
        seen.labelled_size = size
        if complete:
            self._remember(
                path.name,
                state=COMPLETE,
                bytes=size,
                changed=changed,
                folder=out.name,
                **done.summary(),
            )

    def _label(self, path: Path, *, more_to_come: bool) -> tuple[Path, Labelling]:
        """Label a file into the first of its folders that is not of what it was before."""
        options: dict[str, Any] = {"progress": False} | self.options
        former = self.ledger.get(path.name, {}).get("folder")
        first = 1 if former is None else _number(path.name, former) + 1
        for n in itertools.count(first):
            out = self.out_folder / (path.name if n == 1 else f"{path.name}~{n}")
            options |= {"out_folder": out, "more_to_come": more_to_come}
            try:
                return out, label(path, self.parameters, **options)
            except OtherLabellingError as error:
                if not error.of_other_file:
                    raise
        raise AssertionError  # a count has no end

    def _remember(self, name: str, **facts: Any) -> None:
        self.ledger[name] = facts
        write_json(self.out_folder / LEDGER, self.ledger)


def _number(name: str, folder: str) -> int:
    """Return which of a file's folders one is.

    >>> _number("a.fil", "a.fil"), _number("a.fil", "a.fil~2")
    (1, 2)
    """
    return 1 if folder == name else int(folder.removeprefix(f"{name}~"))
