"""The command `twins`: run notebooks, list and compare runs, look at clusters and data files.

Each function imports what it needs, so that a refusal comes at once.
"""

import json
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from physics_twins.cli import clusters, label, models, sweeps
from physics_twins.clusters import ClusterError, check

if TYPE_CHECKING:
    from physics_twins.runs import Notebook, Run

REFUSED, FAILED, CANCELLED = 2, 1, 130

_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "add_completion": False}
app = typer.Typer(
    help="Digital twins of physics instruments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    **_PLAIN,
)
runs_app = typer.Typer(help="List, show and compare runs.", invoke_without_command=True, **_PLAIN)
data_app = typer.Typer(
    help="Real files that the twins are tested on.", invoke_without_command=True, **_PLAIN
)
app.add_typer(runs_app, name="runs")
app.add_typer(data_app, name="data")
app.command("cluster")(clusters.cluster)
app.command("sweep")(sweeps.sweep)
app.add_typer(sweeps.sweeps_app, name="sweeps")
app.add_typer(models.app, name="models")
app.command("label", cls=label.WithParameters)(label.label)
app.command("tune")(sweeps.tune)
app.add_typer(sweeps.studies_app, name="studies")

_Name = Annotated[str, typer.Argument(help="As in pulsar/4_infer, or the path of a notebook.")]
_Settings = Annotated[
    list[str] | None,
    typer.Option(
        "-p",
        metavar="NAME=VALUE",
        help="A parameter, as `twins notebooks NAME` lists them; may be repeated.",
    ),
]
_File = Annotated[Path | None, typer.Option(help="JSON file with parameters; -p comes before it.")]
_On = Annotated[str | None, typer.Option(help="local, threads, slurm, ... or tcp://host:port.")]
_Out = Annotated[Path | None, typer.Option(help="The run's folder.")]
_Force = Annotated[bool, typer.Option("--force", help="Run again what has finished; keep the old run.")]
_Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
_Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
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
    from physics_twins import runs

    values = {**_read_parameters(parameters), **dict(map(_setting, settings or []))}
    notebook = runs.notebook(name)
    if (where := on or values.get("on")) and not notebook.farms:
        check(where)
        print(
            f"twins: {notebook.name} farms nothing out: on = {where} changes nothing", file=sys.stderr
        )
    with _stopping():
        done = runs.run(
            notebook, values, on=on, out=out, force=force, progress=None if quiet else sys.stderr
        )
    _check_complete(done)
    _show_result(done)


@app.command()
def rerun(address: _Address, on: _On = None, quiet: _Quiet = False) -> None:
    """Run a run's notebook again with the same parameters, and say whether the numbers are the same."""
    from physics_twins import runs

    with _stopping():
        first, second = runs.rerun(address, on=on, progress=None if quiet else sys.stderr)
    _check_complete(second)
    _show_result(second)
    compared = runs.compare(first, second)
    if compared.differing:
        print(compared)
        raise typer.Exit(FAILED)
    print(f"the same numbers as {first}: {len(compared.metrics)} metrics, to the last digit")


@runs_app.callback()
def list_runs(context: typer.Context, as_json: _Json = False) -> None:
    """List runs, oldest first."""
    if context.invoked_subcommand:
        return
    from physics_twins import runs

    found = runs.find()
    if as_json:
        print(json.dumps([_summary(run) for run in found], indent=2))
    elif not found:
        print(f"no runs in {runs.default_root()}")
    else:
        header = ("run", "status", "notebook", "started", "duration", "metrics")
        print(_table([header, *map(_row, found)]))


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

    print(runs.compare(runs.resolve(first), runs.resolve(second)))


@app.command("notebooks")
def list_notebooks(name: Annotated[str | None, typer.Argument(help="One of them.")] = None) -> None:
    """List notebooks; with a name, the parameters of that one."""
    from physics_twins import runs

    if name:
        print(_described(runs.notebook(name)))
        return
    rows = []
    for known in runs.available():
        try:
            rows.append((known, runs.notebook(known).title))
        except runs.NotebookError as error:
            rows.append((known, f"cannot be run: {error}"))
    print(_table(rows) if rows else "no notebooks here; go to the project's folder")


@data_app.callback()
def list_data(context: typer.Context) -> None:
    """List the real files, and where they are."""
    if context.invoked_subcommand:
        return
    from physics_twins.data import find_data_file
    from physics_twins.pulsar.real_files import PUBLIC_FILES

    rows = [(name, str(find_data_file(name) or "not here")) for name in PUBLIC_FILES]
    print(_table([(*row, PUBLIC_FILES[row[0]].about) for row in rows]))


@data_app.command("fetch")
def fetch_data(name: Annotated[str, typer.Argument(help="As `twins data` lists it.")]) -> None:
    """Download one real file into the cache, checked by its SHA-256."""
    from physics_twins.pulsar.real_files import fetch

    print(fetch(name))


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"-p {text!r}: write a parameter as name=value")
    return name, value


def _read_parameters(path: Path | None) -> dict[str, Any]:
    from physics_twins.data import read_json

    return read_json(path) if path else {}


@contextmanager
def _stopping() -> Iterator[None]:
    """Tell in one line that the user stopped a run."""
    for library in ("papermill", "asyncio"):  # what they have to say is told below, in one line
        logging.getLogger(library).setLevel(logging.CRITICAL)
    try:
        yield
    except KeyboardInterrupt:
        print("twins: stopped; the partial output is kept", file=sys.stderr)
        raise typer.Exit(CANCELLED) from None


def _check_complete(run: "Run") -> None:
    if run.status != "complete":
        record = run.provenance
        print(f"twins: failed in cell {record['cell']}: {record['error']}", file=sys.stderr)
        print(f"twins: what it had done is in {run}", file=sys.stderr)
        raise typer.Exit(FAILED)


def _show_result(run: "Run") -> None:
    from physics_twins.data import in_words

    duration = f"{run.provenance['duration_s']:.1f} s"
    how = (
        "found finished, not computed again (--force does)" if run.reused else f"complete in {duration}"
    )
    print(f"{run}: {how}")
    if run.metrics:
        print(_table([(f"  {name}", in_words(metric)) for name, metric in run.metrics.items()]))
    print(f"  report: {run}/{run.report.name}")


def _summary(run: "Run") -> dict[str, Any]:
    known = run.summary()
    told = ("notebook", "started", "duration_s", "error", "identity")
    facts = {key: known["provenance"].get(key) for key in told}
    return {"run": str(run), "status": known["status"], **facts, "metrics": known["metrics"]}


def _row(run: "Run") -> tuple[str, ...]:
    from physics_twins.data import in_words

    facts = _summary(run)
    started = (facts["started"] or "")[:16].replace("T", " ")
    duration = "" if facts["duration_s"] is None else f"{facts['duration_s']:.1f} s"
    metrics = ", ".join(
        f"{name} {in_words(metric)}" for name, metric in [*facts["metrics"].items()][:3]
    )
    return facts["run"], facts["status"], facts["notebook"] or "", started, duration, metrics


def _described(notebook: "Notebook") -> str:
    rows = [("parameter", "default", "allowed", "")]
    for name, info in notebook.fields.items():
        rows.append((name, repr(notebook.defaults[name]), info.allowed, info.help))
    return f"{notebook.name}: {notebook.title}\n{_table(rows)}"


def _table(rows: list[tuple[str, ...]]) -> str:
    from physics_twins.data import aligned

    return aligned(rows)


def _stop(signal_number: int, frame: Any) -> None:
    """Let a batch system's request to end leave the same traces as Ctrl-C."""
    raise KeyboardInterrupt


def _skip_slow_grammar() -> None:
    """Keep jsonschema from compiling the grammar of international addresses, 2 s for nothing.

    nbformat imports jsonschema, which imports rfc3987_syntax where it is installed; without it only
    the check of the format "iri" is left out, and no notebook has one.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # pyright: ignore[reportArgumentType]
