"""The command `twins label`: label the frames of a telescope file, or of all files of a live folder."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from physics_twins.cli.texts import aligned, pairs

CANCELLED = 130

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


class WithParameters(TyperCommand):
    """A command whose help lists the parameters of `-p`, too."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, and the parameters of the twin that does the work."""
        from physics_twins.pulsar import label_command

        super().format_help(ctx, formatter)
        rows = [("parameter of -p", "default", "allowed", ""), *label_command.parameter_help()]
        formatter.write(f"\n{aligned(rows)}\n")


def label(
    source: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="A folder is watched.")],
    settings: _Settings = None,
    out: _Out = None,
    keep: _Keep = None,
    classifier: _Classifier = "thresholds",
    on: Annotated[
        str | None, typer.Option(help="local, threads, slurm, ... or tcp://host:port.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Label a folder's files and end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Label every frame of FILE, keep the pieces with pulses, log why; what was stopped goes on."""
    from physics_twins.pulsar import label_command

    values = pairs("-p", settings or [])
    if keep is not None:
        values["keep_probability"] = str(keep)
    if not source.exists():
        raise FileNotFoundError(f"there is no file or folder {source}")
    target = out or source.resolve().with_name(f"{source.resolve().name}.labels")
    options: dict[str, Any] = {"classifier": classifier, "on": on, "once": once, "quiet": quiet}
    try:
        for line in label_command.lines(source, target, values, **options):
            print(line)
    except KeyboardInterrupt:
        print(f"twins: stopped; the same command goes on from what is in {target}", file=sys.stderr)
        raise typer.Exit(CANCELLED) from None
