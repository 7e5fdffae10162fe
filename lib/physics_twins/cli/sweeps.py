"""The commands `twins sweep` and `twins sweeps`: many points at once, and what came of them."""

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from physics_twins.cli import parse, reports

if TYPE_CHECKING:
    from physics_twins.parameters import FieldDescription
    from physics_twins.sweeps import Point, Sweep

FAILED, CANCELLED = 1, 130

sweeps_app = typer.Typer(
    help="List and show sweeps.",
    invoke_without_command=True,
    rich_markup_mode=None,
    add_completion=False,
)

_What = Annotated[
    str, typer.Argument(help="A notebook, module:function, or the folder of a sweep to run on.")
]
_Fixed = Annotated[
    list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="A parameter that all cells share.")
]
_Grid = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=A,B,C", help="Values of one axis; NAME=LOW:HIGH:N for N even steps."),
]
_List = Annotated[
    Path | None, typer.Option("--list", help="CSV or JSON file with one point in each line or object.")
]
_Sobol = Annotated[int | None, typer.Option(min=1, help="N points that fill the ranges evenly.")]
_Range = Annotated[
    list[str] | None, typer.Option("--range", metavar="NAME=LOW:HIGH", help="A range for --sobol.")
]
_Seeds = Annotated[
    str | None, typer.Option(metavar="N or A,B,C", help="Every point with seeds 1 to N, or with these.")
]


def sweep(
    what: _What,
    settings: _Fixed = None,
    grid: _Grid = None,
    listed: _List = None,
    sobol: _Sobol = None,
    ranges: _Range = None,
    seeds: _Seeds = None,
    on: Annotated[str, typer.Option(help="local, threads, slurm, ... or tcp://host:port.")] = "local",
    out: Annotated[Path | None, typer.Option(help="The sweep's folder.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Compute failed cells again.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show the points that would be computed; compute nothing.")
    ] = False,
    report: Annotated[bool, typer.Option(help="Write a report at the end.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Compute a function or a notebook at many points, on any cluster; the same command resumes it."""
    from physics_twins import sweeps
    from physics_twins.runs import PLAN

    for library in ("papermill", "asyncio"):  # what they have to say is told below, in one line
        logging.getLogger(library).setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"on": on, "retry_failed": retry_failed}
    options["progress"] = not quiet
    is_folder = (Path(what) / PLAN).is_file()
    if is_folder and (settings or grid or listed or sobol or ranges or seeds or out):
        raise ValueError(f"{what} is a sweep with its own points: give --on and --retry-failed only")
    try:
        if is_folder and not plan:
            _show_result(sweeps.resume(what, **options), report)
            return
        if is_folder:
            known = sweeps.load(what).plan
            task, fixed, points = sweeps.find_task(known["task"]), known["fixed"], known["points"]
        else:
            task = sweeps.find_task(what)
            fixed = parse.pairs("-p", settings or [], may_be_empty=True)
            points = _points(task.fields, fixed, grid or [], listed, sobol, ranges or [], seeds)
        if plan:
            _show_plan([{**fixed, **point} for point in points], task)
            return
        _show_result(sweeps.run(what, points, fixed=fixed, out=out, **options), report)
    except KeyboardInterrupt:
        print("twins: stopped; what is complete is kept, the same command goes on", file=sys.stderr)
        raise typer.Exit(CANCELLED) from None


@sweeps_app.callback()
def list_sweeps(context: typer.Context) -> None:
    """List sweeps, oldest first."""
    if context.invoked_subcommand:
        return
    from physics_twins import sweeps
    from physics_twins.data import aligned

    rows: list[tuple[str, ...]] = [
        ("sweep", "status", "complete", "failed", "waiting", "started", "of")
    ]
    for found in sweeps.find():
        numbers = (str(found.counts[name]) for name in ("complete", "failed", "waiting"))
        started = found.plan["started"][:16].replace("T", " ")
        rows.append((str(found), found.status, *numbers, started, found.plan["task"]))
    print(aligned(rows) if rows[1:] else "no sweeps here")


@sweeps_app.command("show")
def show_sweep(
    address: Annotated[str, typer.Argument(help="A sweep's folder, or how its name begins.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show one sweep: how far it is, what failed and why, and its results."""
    from physics_twins import sweeps

    found = sweeps.resolve(address)
    if as_json:
        plan = {name: value for name, value in found.plan.items() if name not in ("keys", "units")}
        content = {"sweep": str(found), "status": found.status, "counts": found.counts}
        content |= {"sha256": found.sha256, "failures": found.failures, "plan": plan}
        print(json.dumps(content, indent=2))
        return
    _show_counts(found)
    print(found.dataset())


def _points(
    fields: "dict[str, FieldDescription]",
    fixed: dict[str, str],
    grid: list[str],
    listed: Path | None,
    sobol: int | None,
    ranges: list[str],
    seeds: str | None,
) -> "list[Point]":
    """Return the points that the options describe; a list or Sobol points go with every grid point."""
    from physics_twins import sweeps

    if (sobol is None) != (not ranges):
        raise ValueError("--sobol N and --range NAME=LOW:HIGH belong together")
    if listed and sobol:
        raise ValueError("give --list or --sobol, not both")
    given_axes, given_ranges = parse.pairs("--grid", grid), parse.pairs("--range", ranges)
    for name in (*given_axes, *given_ranges):
        parse.known(name, fields)
    base: list[Point] = sweeps.read_points(listed) if listed else [{}]
    if sobol:
        boxes = {name: parse.box(name, text) for name, text in given_ranges.items()}
        factors = [name for name in boxes if fields[name].logarithmic]
        whole = [name for name in boxes if fields[name].kind is int]
        base = sweeps.sobol(boxes, sobol, seed=1, logarithmic=factors, whole=whole)
    axes = {name: _axis(fields[name], text) for name, text in given_axes.items()}
    varied = {name for point in base for name in point}
    parse.check_once([*fixed, *varied, *axes, *(["seed"] if seeds else [])])
    combined = [{**first, **point} for first in base for point in sweeps.grid(axes)]
    if seeds:
        parse.known("seed", fields)
        combined = sweeps.with_seeds(combined, _seeds(seeds))
    if combined == [{}]:
        raise ValueError("nothing is varied: give --grid, --list, --sobol or --seeds")
    return combined


def _axis(info: "FieldDescription", text: str) -> list[Any]:
    from physics_twins import sweeps

    if text.count(":") != 2 or info.kind is str:
        return text.split(",")
    low, high, n = text.split(":")
    try:
        ends, n_values = (float(low), float(high)), int(n)
    except ValueError:
        form = f"write it as {info.name}=LOW:HIGH:N or {info.name}=A,B,C"
        raise ValueError(f"--grid {info.name}={text}: {form}") from None
    values = sweeps.evenly(*ends, n_values, logarithmic=info.logarithmic)
    return [round(value) for value in values] if info.kind is int else values


def _seeds(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or (len(numbers) == 1 and numbers[0] < 1):
        raise ValueError(f"--seeds {text}: give how many, 1 or more, or the seeds as A,B,C")
    return [*range(1, numbers[0] + 1)] if len(numbers) == 1 else numbers


def _show_plan(points: "list[Point]", task: Any) -> None:
    from physics_twins.data import aligned

    names = list(dict.fromkeys(name for point in points for name in point))
    checked = [task.check(point) for point in points]
    shown = [tuple(str(values[name]) for name in names) for values in checked]
    dots = [tuple("..." for _ in names)] if len(shown) > 20 else []
    print(aligned([tuple(names), *shown[:10], *(dots + shown[-5:] if dots else shown[10:])]))
    print(f"{len(points)} cells of {task.name}")


def _show_result(sweep: "Sweep", report: bool) -> None:
    if report:
        reports.write_report(sweep, reports.SWEEP, "sweep_dir")
    _show_counts(sweep)
    print(f"  computed now: {sweep.computed}; content {(sweep.sha256 or '')[:12]}")
    print(f"  data: {sweep}/result.nc")
    if sweep.report:
        print(f"  report: {sweep}/report/report.html")
    if sweep.counts["failed"]:
        print("twins: failed cells are kept; --retry-failed computes them again", file=sys.stderr)
        raise typer.Exit(FAILED)


def _show_counts(sweep: "Sweep") -> None:
    words = ", ".join(f"{n} {name}" for name, n in sweep.counts.items() if n)
    print(f"{sweep}: {words}")
    for failure in sweep.failures[:5]:
        print(f"  failed at {failure['point']}: {failure['error']}")
