"""What the command `twins label` does: labels a file or a folder, and tells what it came to."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins import clusters
from physics_twins.parameters import check
from physics_twins.pulsar.verb_parameters import (
    DM_RANGE,
    HIGHEST_DM_PC_CM3,
    KeepParameters,
    LabelParameters,
    sought_in_band,
)

if TYPE_CHECKING:
    from physics_twins.pulsar.physics.ism import Band

Sought = Callable[["Band"], LabelParameters]


def lines(
    source: Path,
    target: Path,
    values: Mapping[str, str],
    *,
    classifier: str,
    on: str | None,
    once: bool,
    quiet: bool,
) -> Iterator[str]:
    """Yield what to tell, line by line.

    Args:
        source: A file, or a folder that is watched.
        target: Where to write.
        values: Parameters of what is sought and kept, as text.
        classifier: As for `classifiers.find_classifier`.
        on: Workers that share a file's blocks, as for `clusters.connect`.
        once: Label a folder's files and end.
        quiet: Whether to show no progress.

    Raises:
        ParameterError: A parameter is unknown or outside its range.
    """
    widest = {"dm_min_pc_cm3": 0.0, "dm_max_pc_cm3": HIGHEST_DM_PC_CM3}
    checked = check([LabelParameters, KeepParameters], {**widest, **values})
    keep = KeepParameters.take(checked)
    left_open = [name for name in DM_RANGE if name not in values]
    known = {name: checked[name] for name in LabelParameters.model_fields if name not in left_open}
    sought = partial(sought_in_band, known)
    # Numba is imported only now, so that a refusal comes at once.
    from physics_twins.pulsar.classifying.classifiers import find_classifier

    _leave_numba_as_it_is()
    options: dict[str, Any] = {"keep": keep, "classifier": find_classifier(classifier)}
    if source.is_dir():
        if left_open:
            yield "in each file the whole range of DM is sought that its band tells from interference"
        yield from _folder(source, target, sought, options, once)
    else:
        yield _range(source, sought, bool(left_open))
        with clusters.connect(on) if on else nullcontext() as client:
            yield from _file(source, target, sought, options | {"client": client}, quiet)


def _leave_numba_as_it_is() -> None:
    """Keep numba from importing the packages that offer it extensions.

    Nothing here is compiled with any, and awkward, which comes with uproot, alone takes 12 MB. In a
    process other than the command's own somebody may want them.
    """
    from numba.core import entrypoints

    entrypoints._already_initialized = True


def _range(source: Path, sought: Sought, from_band: bool) -> str:
    """Tell what is sought: what lies outside is deleted with the rest."""
    from physics_twins.pulsar.formats.spectra import open_spectra

    with open_spectra(source) as stream:
        p = sought(stream.band)
    whence = ", all that this band tells from interference" if from_band else ""
    return (
        f"{source.name}: sought are pulses of DM {p.dm_min_pc_cm3:g} to {p.dm_max_pc_cm3:g} pc cm-3"
        f"{whence}, and {p.width_min_ms:g} to {p.width_max_ms:g} ms wide; all else may be deleted"
    )


def _file(
    source: Path, target: Path, sought: Sought, options: dict[str, Any], quiet: bool
) -> Iterator[str]:
    from physics_twins.pulsar.labelling import label

    done = label(source, sought, out_folder=target, progress=not quiet, **options)
    held = ", ".join(f"{count} {name}" for name, count in done.counts.items() if count)
    yield f"{source.name}: {done.n_frames} frames: {held}"
    deleted = f"{100 * done.deleted_fraction:.2f} % deleted"
    yield f"  {done.n_pieces} pieces kept, {deleted}, {done.n_alerts} alerts, {done.seconds:.1f} s"
    if done.missing_fraction:
        yield f"  {100 * done.missing_fraction:.3g} % of the samples carry no data and were left out"
    yield f"  table, pieces and decision log: {done.folder}"


def _folder(
    source: Path, target: Path, sought: Sought, options: dict[str, Any], once: bool
) -> Iterator[str]:
    from physics_twins.pulsar.labelling import label_folder

    if once:
        options |= {"stop": lambda: True, "settled_s": 0.0}
    else:
        yield f"watching {source}; Ctrl-C ends it"
    for name, facts in label_folder(source, sought, out_folder=target, **options).items():
        told = facts.get("error") or (
            f"{facts['n_frames']} frames, {facts['n_pieces']} pieces kept,"
            f" {100 * facts['deleted_fraction']:.2f} % deleted, {facts['n_alerts']} alerts"
        )
        yield f"{name}: {facts['state']}: {told}"
    yield f"tables, pieces and logs are in {target}"


def parameter_help() -> list[tuple[str, str, str, str]]:
    """Return name, default, allowed values and meaning of each parameter."""
    rows = []
    for model in (LabelParameters, KeepParameters):
        for name, info in model.describe().items():
            default = "from the band" if name in DM_RANGE else f"{info.default:g}"
            rows.append((name, default, info.allowed, info.help))
    return rows
