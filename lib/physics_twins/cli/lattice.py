"""The command `twins lattice`: what a gauge configuration's file is, and whether it can be believed."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Look at gauge configurations.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
_File = Annotated[Path, typer.Argument(metavar="FILE", help="MILC v5, NERSC, ILDG, SciDAC or openQCD.")]
_Forced = Annotated[bool, typer.Option("--forced", help="Read what is invalid, and say what is wrong.")]


@app.callback()
def lattice() -> None:
    """Look at gauge configurations."""


@app.command()
def check(file: _File, forced: _Forced = False) -> None:
    """Tell what FILE is, whether it is whole, and every number in it recomputed from its links."""
    from physics_twins.lattice import files

    print(files.told(files.read(file, forced=forced)))
