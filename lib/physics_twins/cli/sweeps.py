"""The commands `twins sweep` and `twins tune`: many points at once, the best of them, what came out."""

import json
import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from physics_twins.cli.texts import aligned, pairs
from physics_twins.parameters import ParameterError

if TYPE_CHECKING:
    from physics_twins.parameters import FieldDescription
    from physics_twins.sweeps import Study, Sweep

FAILED, CANCELLED = 1, 130

_Texts = list[str] | None
_What = Annotated[str, typer.Argument(help="Notebook, module:function, or folder to go on with.")]
_Fixed = Annotated[_Texts, typer.Option("-p", metavar="NAME=VALUE", help="What all share.")]
_Grid = Annotated[_Texts, typer.Option(metavar="NAME=A,B,C", help="One axis; or NAME=LOW:HIGH:N.")]
_Sobol = Annotated[int | None, typer.Option(min=1, help="N points that fill the ranges evenly.")]
_Range = Annotated[_Texts, typer.Option("--range", metavar="NAME=LOW:HIGH", help="What to search.")]
_Seeds = Annotated[str | None, typer.Option(metavar="N or A,B,C", help="Seeds for every point.")]
_Retry = Annotated[bool, typer.Option("--retry-failed", help="Compute failed cells again.")]
_Plan = Annotated[bool, typer.Option("--plan", help="Show the points; compute nothing.")]
_Choices = Annotated[_Texts, typer.Option(metavar="NAME=A,B,C", help="Values to choose from.")]
_Metric = Annotated[str | None, typer.Option(help="The result that is to be lowest.")]
_Maximise = Annotated[bool, typer.Option("--maximise", help="It is to be highest instead.")]
_Trials = Annotated[int | None, typer.Option(min=1, help="How many in all; 30 by default.")]
_Sampler = Annotated[str, typer.Option(help="tpe, or random for comparison.")]
_Seed = Annotated[int, typer.Option(min=0, help="Seed of the search.")]
_Confirm = Annotated[int, typer.Option(min=0, help="Fresh seeds for the best and the defaults.")]
_Parallel = Annotated[int | None, typer.Option(min=1, help="Trials at a time; by default all workers.")]
_On = Annotated[str, typer.Option(help="local, threads, slurm, ... or tcp://host:port.")]
_Out = Annotated[Path | None, typer.Option(help="The folder in which it is kept.")]
_Report = Annotated[bool, typer.Option(help="Write a report at the end.")]
_Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
_Address = Annotated[str, typer.Argument(help="A folder, or how its name begins.")]
_Json = Annotated[bool, typer.Option("--json", help="Its plan, counts and failures as JSON.")]

_LIST: dict[str, Any] = {"invoke_without_command": True, "rich_markup_mode": None}
sweeps_app = typer.Typer(help="List and show sweeps.", add_completion=False, **_LIST)
studies_app = typer.Typer(help="List and show studies.", add_completion=False, **_LIST)


def sweep(
    what: _What,
    settings: _Fixed = None,
    grid: _Grid = None,
    sobol: _Sobol = None,
    ranges: _Range = None,
    seeds: _Seeds = None,
    on: _On = "local",
    out: _Out = None,
    retry_failed: _Retry = False,
    plan: _Plan = False,
    report: _Report = True,
    quiet: _Quiet = False,
) -> None:
    """Compute a function or a notebook at many points, on any cluster; the same command resumes it."""
    from physics_twins import sweeps

    if _is_folder(what):
        if settings or grid or sobol or ranges or seeds or out:
            raise ValueError(f"{what} is a sweep with its own points: give --on, --retry-failed only")
        known = sweeps.Sweep.load(what)
        task, out = sweeps.find_task(known.plan["task"]), known.folder
        fixed, points = known.plan["fixed"], known.plan["points"]
    else:
        task = sweeps.find_task(what)
        fixed = pairs("-p", settings or [], may_be_empty=True)
        points = _points(task.fields, fixed, grid or [], sobol, ranges or [], seeds)
    if plan:
        names = list(dict.fromkeys(name for point in (fixed, *points) for name in point))
        _show_plan([task.check({**fixed, **point}) for point in points], names)
        print(f"{len(points)} cells of {task.name}")
        return
    options: dict[str, Any] = {"on": on, "retry_failed": retry_failed, "progress": not quiet}
    with stopping("what is complete is kept, the same command goes on"):
        found = sweeps.run(task.name, points, fixed=fixed, out=out, **options)
        _report(found, "farms/1_sweep", report)
    _show_counts(found)
    print(f"  computed now: {found.computed}; content {(found.sha256 or '')[:12]}")
    print(f"  data: {found}/result.nc")
    _show_report(found)
    if found.counts["failed"]:
        end("failed cells are kept; --retry-failed computes them again", FAILED)


def tune(
    what: _What,
    metric: _Metric = None,
    maximise: _Maximise = False,
    ranges: _Range = None,
    choices: _Choices = None,
    settings: _Fixed = None,
    trials: _Trials = None,
    sampler: _Sampler = "tpe",
    seed: _Seed = 1,
    confirm: _Confirm = 3,
    on: _On = "local",
    parallel: _Parallel = None,
    out: _Out = None,
    report: _Report = True,
    quiet: _Quiet = False,
) -> None:
    """Search for the parameters at which a task does best; the same command resumes."""
    from physics_twins import sweeps

    options: dict[str, Any] = {"on": on, "parallel": parallel, "progress": not quiet}
    with stopping("what is complete is kept, the same command goes on"):
        if _is_folder(what):
            if metric or maximise or ranges or choices or settings or out:
                raise ValueError(f"{what} is a study: give --trials, --on, --parallel only")
            found = sweeps.Study.load(what).resume(n_trials=trials, **options)
        elif metric is None:
            raise ValueError("--metric is missing: name the result that is to be lowest or highest")
        else:
            boxes = pairs("--range", ranges or []).items()
            lists = pairs("--choices", choices or []).items()
            found = sweeps.tune(
                what,
                metric=metric,
                maximise=maximise,
                ranges={name: _box(name, text) for name, text in boxes},
                choices={name: text.split(",") for name, text in lists},
                fixed=pairs("-p", settings or []),
                n_trials=trials or 30,
                sampler=sampler,
                seed=seed,
                confirm=confirm,
                out=out,
                **options,
            )
        _report(found, "farms/2_tune", report)
    _show_counts(found)
    print(found.comparison().to_string())
    print(f"  computed now: {found.computed}; trials: {found}/trials.csv")
    _show_report(found)
    if found.best is None:
        reasons = sorted({failure["error"] for failure in found.failures})
        end(f"every trial failed: {'; '.join(reasons[:3])}", FAILED)


@sweeps_app.callback()
def list_sweeps(context: typer.Context) -> None:
    """List sweeps."""
    from physics_twins.sweeps import Sweep

    if not context.invoked_subcommand:
        _list("sweeps", Sweep.find())


@sweeps_app.command("show")
def show_sweep(name: _Address, as_json: _Json = False) -> None:
    """Show one sweep: how far it is, what failed and why, its results."""
    from physics_twins.sweeps import Sweep

    found = Sweep.resolve(name)
    _show(found, as_json)
    if not as_json:
        print(found.dataset())


@studies_app.callback()
def list_studies(context: typer.Context) -> None:
    """List studies."""
    from physics_twins.sweeps import Study

    if not context.invoked_subcommand:
        _list("studies", Study.find())


@studies_app.command("show")
def show_study(name: _Address, as_json: _Json = False) -> None:
    """Show one study: what is best, what failed and why, all trials."""
    from physics_twins.sweeps import Study

    found = Study.resolve(name)
    _show(found, as_json)
    if not as_json:
        print(found.comparison().to_string())
        print(found.table().to_string(index=False))


def _is_folder(what: str) -> bool:
    from physics_twins.runs import PLAN

    return (Path(what) / PLAN).is_file()


@contextmanager
def stopping(kept: str) -> Iterator[None]:
    """Tell in one line that the user stopped what is computed, and what becomes of it."""
    for library in ("papermill", "asyncio"):  # what they have to say is told below, in one line
        logging.getLogger(library).setLevel(logging.CRITICAL)
    try:
        yield
    except KeyboardInterrupt:
        end(f"stopped; {kept}", CANCELLED)


def end(words: str, status: int) -> NoReturn:
    """End the command with a line on what went wrong."""
    print(f"twins: {words}", file=sys.stderr)
    raise typer.Exit(status) from None


def _points(
    fields: "dict[str, FieldDescription]",
    fixed: dict[str, str],
    grid: list[str],
    sobol: int | None,
    ranges: list[str],
    seeds: str | None,
) -> list[dict[str, Any]]:
    """Return the points that the options describe; Sobol points go with every grid point."""
    from physics_twins import sweeps

    if (sobol is None) != (not ranges):
        raise ValueError("--sobol N and --range NAME=LOW:HIGH belong together")
    given_axes, given_ranges = pairs("--grid", grid), pairs("--range", ranges)
    for name in (*given_axes, *given_ranges, *(["seed"] if seeds else [])):
        if name not in fields:
            raise ParameterError.unknown(name, fields)
    base: list[dict[str, Any]] = [{}]
    if sobol:
        boxes = {name: _box(name, text) for name, text in given_ranges.items()}
        factors = [name for name in boxes if fields[name].logarithmic]
        whole = [name for name in boxes if fields[name].kind is int]
        base = sweeps.sobol(boxes, sobol, seed=1, logarithmic=factors, whole=whole)
    axes = {name: _axis(fields[name], text) for name, text in given_axes.items()}
    if seeds:
        axes |= {"seed": _seeds(seeds)} if "seed" not in axes else {}
    names = [*fixed, *given_ranges, *given_axes, *(["seed"] if seeds else [])]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} is given twice")
    combined = [{**first, **point} for first in base for point in sweeps.grid(axes)]
    if combined == [{}]:
        raise ValueError("nothing is varied: give --grid, --sobol or --seeds")
    return combined


def _box(name: str, text: str) -> tuple[float, float]:
    """Return both ends of a parameter's `LOW:HIGH`."""
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise ValueError(f"--range {name}={text}: write it as {name}=LOW:HIGH") from None


def _axis(info: "FieldDescription", text: str) -> list[Any]:
    if text.count(":") != 2 or info.kind is str:
        return text.split(",")
    import numpy as np

    try:
        first, last, number = text.split(":")
        low, high, n = float(first), float(last), int(number)
        if not -np.inf < low < high < np.inf or n < 2 or (info.logarithmic and low <= 0):
            raise ValueError
    except ValueError:
        above = " above 0 and" if info.logarithmic else ""
        rule = f"LOW{above} below HIGH, N 2 or more"
        form = f"write it as {info.name}=LOW:HIGH:N, {rule}, or as {info.name}=A,B,C"
        raise ValueError(f"--grid {info.name}={text}: {form}") from None
    values = (np.geomspace if info.logarithmic else np.linspace)(low, high, n).tolist()
    return [round(value) for value in values] if info.kind is int else values


def _seeds(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or (len(numbers) == 1 and numbers[0] < 1):
        raise ValueError(f"--seeds {text}: give how many, 1 or more, or the seeds as A,B,C")
    return [*range(1, numbers[0] + 1)] if len(numbers) == 1 else numbers


def _show_plan(cells: list[dict[str, Any]], names: list[str]) -> None:

    shown = [tuple(str(values[name]) for name in names) for values in cells]
    if len(shown) > 20:
        shown[10:-5] = [tuple("..." for _ in names)]
    print(aligned([tuple(names), *shown]))


def _report(found: "Sweep | Study", notebook: str, wanted: bool) -> None:
    """Run a report's notebook into a folder, in place of the report there, where something is new.

    A report that fails is told of, and leaves what was computed as it is.
    """
    from physics_twins import runs

    if not wanted or (found.report and not found.computed):
        return
    folder = found.folder / "report"
    shutil.rmtree(folder, ignore_errors=True)
    values = {f"{found.kind[0]}_dir": str(found.folder)}
    run = runs.run(notebook, values, out=folder, force=True)
    if run.status != "complete":
        record = run.provenance
        told = f"the report in {folder} failed in cell {record['cell']}: {record['error']}"
        print(f"twins: {told}", file=sys.stderr)


def _list(many: str, found: "list[Sweep] | list[Study]") -> None:

    rows: list[tuple[str, ...]] = [(many, "status", "complete", "failed", "waiting", "started", "of")]
    for each in found:
        plan, counts = each.plan, [str(n) for n in each.counts.values()]
        of = f"{plan['metric']} of {plan['task']}" if "metric" in plan else plan["task"]
        started = plan["started"][:16].replace("T", " ")
        rows.append((str(each), each.status, *counts, started, of))
    print(aligned(rows) if found else f"no {many} here")


def _show(found: "Sweep | Study", as_json: bool) -> None:
    if as_json:
        told = {"folder": str(found.folder), "status": found.status, "plan": found.plan}
        print(json.dumps({**told, "counts": found.counts, "failures": found.failures}, indent=2))
    else:
        _show_counts(found, most=None)


def _show_counts(found: "Sweep | Study", most: int | None = 5) -> None:
    print(f"{found}: {', '.join(f'{n} {name}' for name, n in found.counts.items() if n)}")
    for failure in found.failures[:most]:
        print(f"  failed at {failure['point']}: {failure['error']}")


def _show_report(found: "Sweep | Study") -> None:
    from physics_twins import runs

    if found.report:
        print(f"  report: {runs.Run(found.report.parent).address}")
