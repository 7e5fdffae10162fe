"""The command `twins models`: list, show, promote, verify and import trained models.

Nothing here imports torch: hashes are checked without it.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from physics_twins.models import Entry

DAMAGED = 1

app = typer.Typer(
    help="List, show, promote and verify trained models.",
    invoke_without_command=True,
    rich_markup_mode=None,
    add_completion=False,
)
_Address = Annotated[str, typer.Argument(metavar="NAME[/VERSION]", help="By default as promoted.")]
_Version = Annotated[str, typer.Argument(metavar="NAME/VERSION")]
_Some = Annotated[str | None, typer.Argument(metavar="[NAME[/VERSION]]", help="All by default.")]
_Card = Annotated[bool, typer.Option("--card", help="The model card instead.")]


@app.callback()
def list_models(context: typer.Context) -> None:
    """List models; every file of each is checked."""
    if context.invoked_subcommand:
        return
    from physics_twins import models
    from physics_twins.data import aligned

    rows = [("model", "", "metric", "saved", "size", "state"), *map(_row, models.available())]
    print(aligned(rows) if rows[1:] else f"no models in {' or '.join(map(str, models.roots()))}")


@app.command("show")
def show_model(address: _Address, card: _Card = False) -> None:
    """Show one model: metrics, parameters, where it comes from, files; with --card, its card."""
    from physics_twins import models

    model = models.find(address)
    if card:  # without characters that move about on a terminal
        print("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in model.card), end="")
        return
    content = {
        "model": str(model),
        "folder": str(model.folder),
        "manifest_sha256": model.manifest_sha256,
        "promotions": models.promotions(model.manifest.name),
        "config": model.config,
        **model.manifest.model_dump(),
    }
    print(json.dumps(content, indent=2))


@app.command("promote")
def promote_model(address: _Version) -> None:
    """Make one version the one that is used by name; an older one too, to go back."""
    from physics_twins import models

    model = models.promote(address)
    before = [item["version"] for item in models.promotions(model.manifest.name)[:-1]]
    print(f"{model} is promoted" + (f"; before it was version {before[-1]}" if before else ""))


@app.command("verify")
def verify_models(address: _Some = None) -> None:
    """Check every file of models; exit status 1 when one is damaged."""
    from physics_twins import models

    entries = models.available(address)
    for entry in entries:
        print(f"{entry.name}/{entry.version}: {entry.problem or 'ok'}")
    if any(entry.problem for entry in entries):
        raise typer.Exit(DAMAGED)


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
