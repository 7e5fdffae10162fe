"""The command `twins label`: label the frames of a telescope file, or of all files of a live folder."""

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from physics_twins.parameters import pairs

CANCELLED = 130
# By its name: a shared module imports no twin.
_LABELLING = "physics_twins.pulsar.label_command"

_Source = Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="A folder is watched.")]
_Settings = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="NAME=VALUE", help="What is sought or kept; may be repeated."),
]
_Out = Annotated[
    Path | None, typer.Option(help="Where to write; by default FILE.labels beside the file.")
]
_Keep = Annotated[float | None, typer.Option(help="Keep frames where a pulse is at least so probable.")]
_Classifier = Annotated[
    str, typer.Option(help="thresholds, or a model as NAME[/VERSION].", metavar="NAME")
]
_On = Annotated[str | None, typer.Option(help="local, threads, slurm, ... or tcp://host:port.")]
_Once = Annotated[bool, typer.Option("--once", help="Label a folder's files and end.")]
_Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]


class WithParameters(TyperCommand):
    """A command whose help lists the parameters of `-p`, too."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, and the parameters of the twin that does the work."""
        from physics_twins.data import aligned

        super().format_help(ctx, formatter)
        header = ("parameter of -p", "default", "allowed", "")
        rows = importlib.import_module(_LABELLING).parameter_help()
        formatter.write("\n" + aligned([header, *rows]) + "\n")


def label(
    source: _Source,
    settings: _Settings = None,
    out: _Out = None,
    keep: _Keep = None,
    classifier: _Classifier = "thresholds",
    on: _On = None,
    once: _Once = False,
    quiet: _Quiet = False,
) -> None:
    """Label every frame of FILE, keep the pieces with pulses, log why; what was stopped goes on."""
    values = pairs("-p", settings or [])
    if keep is not None:
        values["keep_probability"] = str(keep)
    if not source.exists():
        raise FileNotFoundError(f"there is no file or folder {source}")
    whole = source.resolve()
    target = out or whole.with_name(f"{whole.name}.labels")
    command = importlib.import_module(_LABELLING)
    try:
        for line in command.lines(
            source, target, values, classifier=classifier, on=on, once=once, quiet=quiet
        ):
            print(line)
    except KeyboardInterrupt:
        print(f"twins: stopped; the same command goes on from what is in {target}", file=sys.stderr)
        raise typer.Exit(CANCELLED) from None
