"""The command `twins lattice`: what a gauge configuration's file is, and whether it can be believed."""

from pathlib import Path
from typing import Annotated

import typer

from physics_twins.cli.texts import pairs

app = typer.Typer(
    help="Look at gauge configurations.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
_File = Annotated[Path, typer.Argument(metavar="FILE", help="MILC, NERSC, ILDG, SciDAC or openQCD.")]
_Forced = Annotated[bool, typer.Option("--forced", help="Read what is invalid, and say what is wrong.")]

_Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the run's files are written.")]
_Given = Annotated[list[str], typer.Option("-p", help="A parameter, as beta=6.1; see the book.")]
_On = Annotated[
    str, typer.Option("--on", help="slurm, or a section of it, as the clusters' page says.")
]


@app.callback()
def lattice() -> None:
    """Look at gauge configurations."""


@app.command()
def check(file: _File, forced: _Forced = False) -> None:
    """Tell what FILE is, whether it is whole, and every number in it recomputed from its links."""
    from physics_twins.lattice import files

    print(files.told(files.read(file, forced=forced)))


@app.command()
def openqxd(folder: _Folder, given: _Given = [], on: _On = "slurm") -> None:  # noqa: B006
    """Write a run of openQ*D's ym1 into FOLDER, show its job, and submit it where the program is."""
    from physics_twins.clusters import ClusterError
    from physics_twins.lattice import openqxd as runs
    from physics_twins.lattice.openqxd_parameters import OpenQxDParameters
    from physics_twins.parameters import check

    parameters = OpenQxDParameters(**check([OpenQxDParameters], pairs("-p", given)))
    print(runs.job_script(parameters, on))
    try:
        print(f"submitted as job {runs.submit(parameters, folder, on=on)}")
    except ClusterError as error:
        print(f"not submitted: {error}")
        raise typer.Exit(1) from None
