"""The command `twins`: run notebooks, list and compare runs, look at clusters and data files.

Each function imports what it needs, so that a refusal comes at once.
"""

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from physics_twins.cli import calorimeter, clusters, label, lattice, models, sweeps
from physics_twins.cli.texts import aligned, pairs
from physics_twins.clusters import ClusterError

if TYPE_CHECKING:
    from physics_twins.runs import Run

REFUSED, FAILED = 2, 1

_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "add_completion": False}
_LIST: dict[str, Any] = {"invoke_without_command": True, **_PLAIN}
app = typer.Typer(
    help="Digital twins of physics instruments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    **_PLAIN,
)
runs_app = typer.Typer(help="List, show and compare runs.", **_LIST)
data_app = typer.Typer(help="Real files that the twins are tested on.", **_LIST)
app.add_typer(runs_app, name="runs")
app.add_typer(data_app, name="data")
app.command("cluster")(clusters.cluster)
app.command("sweep")(sweeps.sweep)
app.add_typer(sweeps.sweeps_app, name="sweeps")
app.add_typer(models.app, name="models")
app.command("label", cls=label.WithParameters)(label.label)
app.add_typer(calorimeter.app, name="calorimeter")
app.add_typer(lattice.app, name="lattice")
app.command("tune")(sweeps.tune)
app.add_typer(sweeps.studies_app, name="studies")

_Name = Annotated[str, typer.Argument(help="As in pulsar/4_infer, or the path of a notebook.")]
_Settings = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="NAME=VALUE", help="A parameter, as `twins notebooks NAME` lists them."),
]
_File = Annotated[Path | None, typer.Option(help="JSON file with parameters; -p comes before it.")]
_On = Annotated[str | None, typer.Option(help="local, threads, slurm, ... or tcp://host:port.")]
_Out = Annotated[Path | None, typer.Option(help="The run's folder.")]
_Force = Annotated[bool, typer.Option("--force", help="Run again what has finished; keep the old run.")]
_Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
_Address = Annotated[str, typer.Argument(help="A run's folder, or how its name begins.")]


def main() -> None:
    """Run the command; what a user got wrong is told in one line, with exit status 2."""
    _skip_slow_grammar()
    signal.signal(signal.SIGTERM, _stop)
    try:
        app(prog_name="twins")
    except (ValueError, OSError, ClusterError) as error:
        print(f"twins: {error}", file=sys.stderr)
        sys.exit(REFUSED)


@app.command()
def run(
    name: _Name,
    settings: _Settings = None,
    parameters: _File = None,
    on: _On = None,
    out: _Out = None,
    force: _Force = False,
    quiet: _Quiet = False,
) -> None:
    """Run a notebook with checked parameters; a run that has finished before is found, not repeated."""
    from physics_twins import data, runs

    values = data.read_json(parameters) if parameters else {}
    values |= pairs("-p", settings or [], may_be_empty=True)
    notebook = runs.notebook(name)
    with sweeps.stopping("the partial output is kept"):
        stream = None if quiet else sys.stderr
        done = runs.run(notebook, values, on=on, out=out, force=force, progress=stream)
    _show_result(done)


@app.command()
def rerun(address: _Address, on: _On = None, quiet: _Quiet = False) -> None:
    """Run a run's notebook again with the same parameters, and say whether the numbers are the same."""
    from physics_twins import runs

    with sweeps.stopping("the partial output is kept"):
        first, second = runs.rerun(address, on=on, progress=None if quiet else sys.stderr)
    _show_result(second)
    metrics = [each for each in runs.compare(first, second) if each.kind == "metric"]
    if any(each.first != each.second for each in metrics):
        _show_compared(first, second)
        raise typer.Exit(FAILED)
    print(f"the same numbers as {first}: {len(metrics)} metrics, to the last digit")


@runs_app.callback()
def list_runs(context: typer.Context) -> None:
    """List runs, oldest first."""
    if context.invoked_subcommand:
        return
    from physics_twins import runs

    header = ("run", "status", "notebook", "started", "duration", "metrics")
    rows = [header, *map(_row, runs.find())]
    print(aligned(rows) if rows[1:] else f"no runs in {runs.default_root()}")


@runs_app.command("show")
def show_run(address: _Address) -> None:
    """Show one run: parameters, metrics, where it comes from, files."""
    from physics_twins import runs

    found = runs.resolve(address)
    files = [p.name for p in sorted(found.folder.iterdir()) if not p.name.startswith(".")]
    print(json.dumps({"run": str(found), **found.summary(), "files": files}, indent=2))


@runs_app.command("compare")
def compare_runs(first: _Address, second: _Address) -> None:
    """Compare two runs: parameters and code that differ, metrics side by side."""
    from physics_twins import runs

    _show_compared(runs.resolve(first), runs.resolve(second))


@app.command("notebooks")
def list_notebooks(name: Annotated[str | None, typer.Argument(help="One of them.")] = None) -> None:
    """List notebooks; with a name, the parameters of that one."""
    from physics_twins import runs

    if name:
        known = runs.notebook(name)
        rows = [(n, repr(known.defaults[n]), f.allowed, f.help) for n, f in known.fields.items()]
        print(f"{known.name}: {known.title}")
        print(aligned([("parameter", "default", "allowed", ""), *rows]))
        return
    titles = {}
    for each in runs.available():
        try:
            titles[each] = runs.notebook(each).title
        except ValueError as error:
            titles[each] = f"cannot be run: {error}"
    print(aligned([*titles.items()]) if titles else "no notebooks here; go to the project's folder")


@data_app.callback()
def list_data(context: typer.Context) -> None:
    """List the real files, and where they are."""
    if context.invoked_subcommand:
        return
    from physics_twins.data import find_data_file
    from physics_twins.pulsar.real_files import PUBLIC_FILES

    files = PUBLIC_FILES.items()
    print(
        aligned([(name, str(find_data_file(name) or "not here"), file.about) for name, file in files])
    )


@data_app.command("fetch")
def fetch_data(name: Annotated[str, typer.Argument(help="As `twins data` lists it.")]) -> None:
    """Download one real file into the cache, checked by its SHA-256."""
    from physics_twins.pulsar.real_files import fetch

    print(fetch(name))


def _show_result(run: "Run") -> None:
    """Print what came out of a run; one that has failed ends the command."""
    from physics_twins.data import in_words

    known = run.summary()
    record = known["provenance"]
    if known["status"] != "complete":
        print(f"twins: failed in cell {record['cell']}: {record['error']}", file=sys.stderr)
        sweeps.end(f"what it had done is in {run}", FAILED)
    how = f"complete in {record['duration_s']:.1f} s"
    print(f"{run}: {'found finished, not computed again (--force does)' if run.reused else how}")
    if known["metrics"]:
        print(aligned([(f"  {name}", in_words(value)) for name, value in known["metrics"].items()]))
    print(f"  report: {run.address}")


def _show_compared(first: "Run", second: "Run") -> None:
    from physics_twins import runs

    header = ("", "", str(first), str(second), "difference")
    print(aligned([header, *(each.words for each in runs.compare(first, second))]))


def _row(run: "Run") -> tuple[str, ...]:
    from physics_twins.data import in_words

    known = run.summary()
    record = known["provenance"]
    started = record.get("started", "")[:16].replace("T", " ")
    duration_s = record.get("duration_s")
    duration = "" if duration_s is None else f"{duration_s:.1f} s"
    metrics = ", ".join(f"{name} {in_words(value)}" for name, value in [*known["metrics"].items()][:3])
    return str(run), known["status"], record.get("notebook") or "", started, duration, metrics


def _stop(signal_number: int, frame: Any) -> None:
    """Let a batch system's request to end leave the same traces as Ctrl-C."""
    raise KeyboardInterrupt


def _skip_slow_grammar() -> None:
    """Keep jsonschema from compiling the grammar of international addresses, 2 s for nothing.

    nbformat imports jsonschema, which imports rfc3987_syntax where it is installed; without it only
    the check of the format "iri" is left out, and no notebook has one.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    main()
