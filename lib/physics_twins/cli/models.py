"""The command `twins models`: list, show, promote and import trained models.

Nothing here imports torch: hashes are checked without it.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physics_twins.cli.texts import aligned

if TYPE_CHECKING:
    from physics_twins.models import Entry

DAMAGED = 1

app = typer.Typer(
    help="List and check, show, promote and import trained models.",
    invoke_without_command=True,
    rich_markup_mode=None,
    add_completion=False,
)
_Address = Annotated[str, typer.Argument(metavar="NAME[/VERSION]", help="By default as promoted.")]
_Version = Annotated[str, typer.Argument(metavar="NAME/VERSION")]


@app.callback()
def list_models(context: typer.Context) -> None:
    """List models; every file of each is checked, and exit status 1 says that one is damaged."""
    if not context.invoked_subcommand:
        verify_models()


@app.command("verify")
def verify_models() -> None:
    """The same list and check, by a name that says so."""
    from physics_twins import models

    found = models.available()
    rows = [("model", "", "metric", "saved", "size", "state"), *map(_row, found)]
    print(aligned(rows) if found else f"no models in {' or '.join(map(str, models.roots()))}")
    if any(entry.problem for entry in found):
        raise typer.Exit(DAMAGED)


@app.command("show")
def show_model(address: _Address) -> None:
    """Show one model: its folder with the card, metrics, parameters, where it comes from, files."""
    from physics_twins import models

    model = models.find(address)
    content = {
        "model": str(model),
        "folder": str(model.folder),
        "manifest_sha256": model.manifest_sha256,
        "promoted": any(entry.promoted for entry in models.available(str(model))),
        "config": model.config,
        **model.manifest.model_dump(),
    }
    print(json.dumps(content, indent=2))


@app.command("promote")
def promote_model(address: _Version) -> None:
    """Make one version the one that is used by name; an older one too, to go back."""
    from physics_twins import models

    known = models.available(address.partition("/")[0])
    before = "".join(f"; before it was version {each.version}" for each in known if each.promoted)
    print(f"{models.promote(address)} is promoted{before}")


@app.command("import")
def import_model(file: Annotated[Path, typer.Argument(metavar="FILE.zip")]) -> None:
    """Add a model from a zip file of its folder's files, after checking all of it."""
    from physics_twins import models

    model = models.import_zip(file)
    print(f"{model} is in {model.folder}")


def _row(entry: "Entry") -> tuple[str, ...]:
    from physics_twins.data import in_words

    address, promoted = f"{entry.name}/{entry.version}", "promoted" if entry.promoted else ""
    if entry.model is None:
        return address, promoted, "", "", "", f"damaged: {entry.problem}"
    manifest = entry.model.manifest
    metrics = [f"{name} {in_words(each.model_dump())}" for name, each in manifest.metrics.items()]
    saved, size = manifest.created[:16].replace("T", " "), f"{manifest.n_bytes / 1e6:.3g} MB"
    return address, promoted, next(iter(metrics), ""), saved, size, "ok"
