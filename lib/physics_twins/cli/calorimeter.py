"""The command `twins calorimeter`: showers in ROOT files become HDF5."""

from pathlib import Path
from typing import Annotated

import typer

from physics_twins.cli.sweeps import stopping

app = typer.Typer(
    help="Convert showers.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
_Files = Annotated[list[Path], typer.Argument(metavar="FILE.root... TARGET.h5", help="Read, written.")]
_Mapping = Annotated[
    Path,
    typer.Option(help="JSON that says which branch is what; see the book's formats."),
]
_Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]


@app.callback()
def calorimeter() -> None:
    """Convert showers."""


@app.command()
def convert(files: _Files, mapping: _Mapping, quiet: _Quiet = False) -> None:
    """Write the showers of ROOT trees as one file of 3DGAN's keys."""
    from pydantic import ValidationError

    from physics_twins.calorimeter.files import RootMapping, convert_root

    *sources, target = files
    if not sources:
        raise ValueError(f"FILE.root is missing: {target} would be the file that is written")
    if not mapping.is_file():
        raise FileNotFoundError(f"there is no file {mapping}")
    try:
        told = RootMapping.model_validate_json(mapping.read_text())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "mapping"
        raise ValueError(f"{mapping}: {place}: {first['msg']}") from None
    with stopping("nothing was written"):
        n_read, n_written = convert_root(sources, target, told, progress=not quiet)
    print(f"{target}: {n_written} of {n_read} showers")
