"""What the command `twins label` does: labels a file or a folder, and tells what it came to."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from physics_twins import clusters
from physics_twins.parameters import check
from physics_twins.pulsar.keep_parameters import KeepParameters
from physics_twins.pulsar.label_parameters import LabelParameters


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
        classifier: As for `trained_classifier.find_classifier`.
        on: Workers that share a file's blocks, as for `clusters.connect`.
        once: Label a folder's files and end.
        quiet: Whether to show no progress.

    Raises:
        ParameterError: A parameter is unknown or outside its range.
    """
    checked = check([LabelParameters, KeepParameters], values)
    sought, keep = LabelParameters.take(checked), KeepParameters.take(checked)
    # Numba is imported only now, so that a refusal comes at once.
    from physics_twins.pulsar.classifying.trained_classifier import find_classifier

    options: dict[str, Any] = {"keep": keep, "classifier": find_classifier(classifier)}
    if source.is_dir():
        yield from _folder(source, target, sought, options, once)
    else:
        with clusters.connect(on) if on else nullcontext() as client:
            yield from _file(source, target, sought, options | {"client": client}, quiet)


def _file(
    source: Path, target: Path, sought: LabelParameters, options: dict[str, Any], quiet: bool
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
    source: Path, target: Path, sought: LabelParameters, options: dict[str, Any], once: bool
) -> Iterator[str]:
    from physics_twins.pulsar.live_labelling import label_folder

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
