"""The command `twins lattice`: what a gauge configuration's file is, and whether it can be believed."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, cast

import typer

from physics_twins.cli.sweeps import stopping
from physics_twins.cli.texts import pairs

app = typer.Typer(
    help="Look at gauge configurations.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
_File = Annotated[Path, typer.Argument(metavar="FILE", help="MILC, NERSC, ILDG, SciDAC or openQCD.")]
_Forced = Annotated[bool, typer.Option("--forced", help="Read what is invalid, and say what is wrong.")]
_Document = Annotated[
    Path | None, typer.Option("--qcdml", help="QCDml's document, which is held against FILE.")
]
_Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
_Target = Annotated[Path, typer.Argument(metavar="TARGET", help="The file that is written.")]
_To = Annotated[
    str, typer.Option("--to", help="milc, milc_v1, milc_text, nersc, ildg, scidac or openqcd.")
]
_Number = Annotated[str, typer.Option("--number", help="Type of a real number, such as <f4 or >f8.")]

_Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the run's files are written.")]
_Given = Annotated[list[str], typer.Option("-p", help="A parameter, as beta=6.1; see the book.")]
_On = Annotated[
    str, typer.Option("--on", help="slurm, or a section of it, as the clusters' page says.")
]


@app.callback()
def lattice() -> None:
    """Look at gauge configurations."""


@app.command()
def check(file: _File, forced: _Forced = False, qcdml: _Document = None, quiet: _Quiet = False) -> None:
    """Tell what FILE is, whether it is whole, and every number in it recomputed from its links.

    It may be larger than memory: it is read time slice by time slice.
    """
    from physics_twins.lattice import files

    with stopping("the file was not checked to its end"), _bar(quiet) as progress:
        found = files.check(file, forced=forced, document=qcdml or "", progress=progress)
    print(files.told(found))


@app.command()
def convert(file: _File, target: _Target, to: _To = "ildg", number: _Number = "") -> None:
    """Check FILE and write it as TARGET in another format."""
    from physics_twins.lattice import files

    with stopping("nothing was written"):
        print(files.convert(file, target, cast(files.Format, to), number=number))


@contextmanager
def _bar(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield what shows how many time slices are done, where somebody looks on."""
    from tqdm import tqdm

    with tqdm(unit="slice", leave=False, disable=quiet or not sys.stderr.isatty()) as bar:

        def progress(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n if done > bar.n else done)

        yield progress


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
