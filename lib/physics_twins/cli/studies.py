"""The commands `twins tune` and `twins studies`: where a task does best, and what was found."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from physics_twins.cli import parse, reports

if TYPE_CHECKING:
    from physics_twins.sweeps import Study, Trial, Verdict

FAILED, CANCELLED = 1, 130
DEFAULT_TRIALS = 30

studies_app = typer.Typer(
    help="List and show studies.",
    invoke_without_command=True,
    rich_markup_mode=None,
    add_completion=False,
)

_What = Annotated[
    str, typer.Argument(help="A notebook, module:function, or the folder of a study to go on with.")
]
_Fixed = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="NAME=VALUE", help="A parameter that all trials share."),
]
_Range = Annotated[
    list[str] | None, typer.Option("--range", metavar="NAME=LOW:HIGH", help="A range to search.")
]
_Choices = Annotated[
    list[str] | None, typer.Option(metavar="NAME=A,B,C", help="Values to choose from.")
]


def tune(
    what: _What,
    metric: Annotated[str | None, typer.Option(help="The result that is to be lowest.")] = None,
    maximise: Annotated[bool, typer.Option("--maximise", help="It is to be highest instead.")] = False,
    ranges: _Range = None,
    choices: _Choices = None,
    settings: _Fixed = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help=f"How many trials in all; {DEFAULT_TRIALS} by default.")
    ] = None,
    sampler: Annotated[str, typer.Option(help="tpe, or random for comparison.")] = "tpe",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the search.")] = 1,
    confirm: Annotated[
        int, typer.Option(min=0, help="Fresh seeds with which best and defaults are computed again.")
    ] = 3,
    on: Annotated[str, typer.Option(help="local, threads, slurm, ... or tcp://host:port.")] = "local",
    parallel: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time; one for each worker by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder.")] = None,
    report: Annotated[bool, typer.Option(help="Write a report at the end.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Search for the parameters at which a task does best; the same command resumes."""
    from physics_twins.sweeps import tuning

    options: dict[str, Any] = {"on": on, "parallel": parallel}
    options["progress"] = not quiet
    try:
        if (Path(what) / tuning.PLAN).is_file():
            if metric or maximise or ranges or choices or settings or out:
                raise ValueError(f"{what} is a study: give --trials, --on, --parallel only")
            _show_result(tuning.resume(what, n_trials=trials, **options), report)
            return
        if metric is None:
            raise ValueError("--metric is missing: name the result that is to be lowest or highest")
        given_ranges = parse.pairs("--range", ranges or [])
        given_choices = parse.pairs("--choices", choices or [])
        found = tuning.run(
            what,
            metric=metric,
            maximise=maximise,
            ranges={name: parse.box(name, text) for name, text in given_ranges.items()},
            choices={name: text.split(",") for name, text in given_choices.items()},
            fixed=parse.pairs("-p", settings or []),
            n_trials=trials or DEFAULT_TRIALS,
            sampler=sampler,
            seed=seed,
            confirm=confirm,
            out=out,
            **options,
        )
        _show_result(found, report)
    except KeyboardInterrupt:
        print("twins: stopped; what is complete is kept, the same command goes on", file=sys.stderr)
        raise typer.Exit(CANCELLED) from None


@studies_app.callback()
def list_studies(context: typer.Context) -> None:
    """List studies, oldest first."""
    if context.invoked_subcommand:
        return
    from physics_twins.data import aligned
    from physics_twins.sweeps import tuning

    rows: list[tuple[str, ...]] = [
        ("study", "status", "complete", "failed", "waiting", "started", "metric", "of")
    ]
    for found in tuning.find():
        plan, counts = found.plan, [str(n) for n in found.counts.values()]
        started = plan["started"][:16].replace("T", " ")
        rows.append((str(found), found.status, *counts, started, plan["metric"], plan["task"]))
    print(aligned(rows) if rows[1:] else "no studies here")


@studies_app.command("show")
def show_study(
    address: Annotated[str, typer.Argument(help="A study's folder, or how its name begins.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show one study: its trials, the best one, and by how much it beats the defaults."""
    from physics_twins.sweeps import tuning

    found = tuning.resolve(address)
    verdict, trials = found.verdict, found.trials
    if as_json:
        content = {"study": str(found), "status": found.status, "counts": found.counts}
        content |= {"best": verdict.best and verdict.best.point, "metrics": verdict.metrics()}
        content |= {"plan": found.plan, "trials": [vars(trial) for trial in trials]}
        print(json.dumps(content, indent=2))
        return
    _show_counts(found)
    _show_verdict(found.plan["metric"], verdict)
    _show_trials(trials, verdict.unit)


def _show_result(study: "Study", report: bool) -> None:
    if report:
        reports.write_report(study, reports.STUDY, "study_dir")
    _show_counts(study)
    verdict = study.verdict
    _show_verdict(study.plan["metric"], verdict)
    print(f"  computed now: {study.computed}; trials: {study}/trials.nc")
    if study.report:
        print(f"  report: {study}/report/report.html")
    if verdict.best is None:
        reasons = sorted({trial.reason for trial in study.trials})
        print(f"twins: every trial failed: {'; '.join(reasons[:3])}", file=sys.stderr)
        raise typer.Exit(FAILED)


def _show_counts(study: "Study") -> None:
    words = ", ".join(f"{n} {name}" for name, n in study.counts.items() if n)
    print(f"{study}: {words}")


def _show_verdict(metric: str, verdict: "Verdict") -> None:
    from physics_twins.data import aligned, with_error

    if verdict.best is None:
        return
    place = ", ".join(f"{name}={_short(value)}" for name, value in verdict.best.point.items())
    metrics = {name: with_error(**value) for name, value in verdict.metrics().items()}
    fresh = f"{len(verdict.seeds)} fresh seeds"
    rows = [
        ("", "best", "defaults", "better by"),
        (f"  {metric}", *(metrics.get(n, "-") for n in ("best", "baseline", "gain"))),
    ]
    if verdict.seeds:
        names = ("best_confirmed", "baseline_confirmed", "gain_confirmed")
        rows.append((f"  with {fresh}", *(metrics.get(n, "-") for n in names)))
    print(aligned(rows))
    print(f"  best: {place} (trial {verdict.best.number})")


def _show_trials(trials: "list[Trial]", unit: str) -> None:
    from physics_twins.data import aligned, with_error

    names = list(trials[0].point) if trials else []
    rows: list[tuple[str, ...]] = [("trial", "status", "metric", *names, "")]
    for trial in trials:
        shown = "" if trial.value is None else with_error(trial.value, trial.error, unit)
        point = (_short(trial.point[name]) for name in names)
        rows.append((str(trial.number), trial.status, shown, *point, trial.reason[:80]))
    print(aligned(rows))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
