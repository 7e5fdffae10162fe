"""The command `twins label`: label the frames of a telescope file, or of all files of a live folder."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from physics_twins import cli_options

if TYPE_CHECKING:
    from physics_twins.parameters import Parameters
    from physics_twins.pulsar.label_progress import Labelling

CANCELLED = 130

_Source = Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="A folder is watched.")]
_Settings = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="NAME=VALUE", help="What is sought or kept; may be repeated."),
]
_Out = Annotated[
    Path | None, typer.Option(help="Where to write; by default FILE.labels beside the file.")
]
_Keep = Annotated[float | None, typer.Option(help="Keep frames where a pulse is at least so probable.")]
_On = Annotated[str | None, typer.Option(help="local, threads, slurm, ... or tcp://host:port.")]
_Once = Annotated[bool, typer.Option("--once", help="Label a folder's files and end.")]
_Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]


def label(
    source: _Source,
    settings: _Settings = None,
    out: _Out = None,
    keep: _Keep = None,
    on: _On = None,
    once: _Once = False,
    quiet: _Quiet = False,
) -> None:
    """Label every frame of FILE, keep the pieces with pulses, and log why; what was stopped goes on."""
    values = cli_options.pairs("-p", settings or [])
    if keep is not None:
        values["keep_probability"] = str(keep)
    if not source.exists():
        raise FileNotFoundError(f"there is no file or folder {source}")
    sought, kept = _parameters(values)
    target = out or source.with_name(f"{source.resolve().name}.labels")
    try:
        if source.is_dir():
            _label_folder(source, target, sought, kept, once)
        else:
            _label_file(source, target, sought, kept, on, quiet)
    except KeyboardInterrupt:
        print(f"twins: stopped; the same command goes on from what is in {target}", file=sys.stderr)
        raise typer.Exit(CANCELLED) from None


def _parameters(values: dict[str, str]) -> tuple[Any, ...]:
    """Return both models from texts by name, each name in one of them."""
    from physics_twins.parameters import check
    from physics_twins.pulsar.keep_parameters import KeepParameters
    from physics_twins.pulsar.label_parameters import LabelParameters

    models: list[type[Parameters]] = [LabelParameters, KeepParameters]
    checked = check(models, values)
    return tuple(model.take(checked) for model in models)


def _label_file(
    source: Path, target: Path, sought: Any, kept: Any, on: str | None, quiet: bool
) -> None:
    from contextlib import nullcontext

    from physics_twins import clusters
    from physics_twins.pulsar.labelling import label

    with clusters.connect(on) if on else nullcontext() as client:
        done = label(source, sought, out_folder=target, keep=kept, client=client, progress=not quiet)
    _show(source.name, done)


def _label_folder(source: Path, target: Path, sought: Any, kept: Any, once: bool) -> None:
    from physics_twins.pulsar.live_labelling import label_folder

    ends: dict[str, Any] = {"stop": lambda: True, "settled_s": 0.0} if once else {}
    if not once:
        print(f"watching {source}; Ctrl-C ends it", file=sys.stderr)
    ledger = label_folder(source, sought, out_folder=target, keep=kept, **ends)
    for name, facts in ledger.items():
        told = facts.get("error") or (
            f"{facts['n_frames']} frames, {facts['n_pieces']} pieces kept,"
            f" {100 * facts['deleted_fraction']:.2f} % deleted, {facts['n_alerts']} alerts"
        )
        print(f"{name}: {facts['state']}: {told}")
    print(f"tables, pieces and logs are in {target}")


def _show(name: str, done: "Labelling") -> None:
    held = ", ".join(f"{count} {label}" for label, count in done.counts.items() if count)
    print(f"{name}: {done.n_frames} frames: {held}")
    print(
        f"  {done.n_pieces} pieces kept, {100 * done.deleted_fraction:.2f} % deleted,"
        f" {done.n_alerts} alerts, {done.seconds:.1f} s"
    )
    print(f"  table, pieces and decision log: {done.folder}")
