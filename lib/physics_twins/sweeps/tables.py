"""Tables of a sweep's or study's report: what it was, what failed and why, who computed it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import xarray as xr
from pandas.io.formats.style import Styler

from physics_twins.data import in_print, with_error
from physics_twins.sweeps import Sweep
from physics_twins.sweeps.records import FAILED, Record, Records
from physics_twins.sweeps.tuning import Study

MOST_ERRORS = 20


def shown(table: pd.DataFrame) -> Styler:
    """Return a table as a report shows it: text on the left, nothing cut off."""
    left: Any = {"selector": "th, td", "props": [("text-align", "left"), ("vertical-align", "top")]}
    wrapped: Any = {"selector": "td", "props": [("overflow-wrap", "anywhere")]}
    return table.style.set_table_styles([left, wrapped])


def sweep_facts(sweep: Sweep) -> pd.DataFrame:
    """Return what was swept, with which code, how far it is, and how to go on."""
    plan, counts = sweep.plan, sweep.counts
    names = list(dict.fromkeys(name for point in plan["points"] for name in point))
    varied = {name: [point.get(name) for point in plan["points"]] for name in names}
    facts = {
        "what": f"{plan['task']}: {plan['title']}",
        **{f"varied: {name}": _values(values, plan["units"][name]) for name, values in varied.items()},
        "fixed": _point(plan["fixed"]) or "nothing; other parameters have their defaults",
        "cells": ", ".join(f"{n} {state}" for state, n in counts.items() if n),
        "code": f"{plan['source_sha256'][:12]} (SHA-256 of the library)",
        "content": f"{(sweep.sha256 or 'not combined yet')[:16]} (SHA-256 of the combined data)",
        "begun": plan["started"][:19].replace("T", " "),
        "data": f"{sweep.folder / 'result.nc'}",
        "go on": f"twins sweep {sweep.folder}" + (" --retry-failed" if counts[FAILED] else ""),
    }
    return _facts(facts)


def study_facts(study: Study) -> pd.DataFrame:
    """Return what was tuned, with which code, how far it is, and how to go on."""
    plan, counts = study.plan, study.counts
    ranges = {n: _range(ends, plan["units"][n]) for n, ends in plan["ranges"].items()}
    factors = {n: " in factors" if n in plan["logarithmic"] else "" for n in ranges}
    facts = {
        "what": f"{plan['task']}: {plan['title']}",
        "metric": f"{plan['metric']}, as {'high' if plan['maximise'] else 'low'} as possible",
        **{f"searched: {name}": text + factors[name] for name, text in ranges.items()},
        **{f"searched: {n}": "one of " + ", ".join(map(str, v)) for n, v in plan["choices"].items()},
        "fixed": _point(plan["fixed"]) or "nothing; other parameters have their defaults",
        "search": f"{plan['sampler']}, seed {plan['seed']}",
        "trials": ", ".join(f"{n} {state}" for state, n in counts.items() if n),
        "code": f"{plan['source_sha256'][:12]} (SHA-256 of the library)",
        "begun": plan["started"][:19].replace("T", " "),
        "data": f"{study.folder / 'trials.nc'}",
        "go on": f"twins tune {study.folder} --trials {2 * plan['trials']}",
    }
    return _facts(facts)


def sweep_failures(sweep: Sweep) -> pd.DataFrame:
    """Return each error with how often it came, where in the code, and the first point that had it."""
    return _failures([(f["point"], f["error"], f) for f in sweep.failures])


def study_failures(study: Study) -> pd.DataFrame:
    """Return each reason of failed trials with how often it came, and the first point that had it."""
    records = Records(study.folder).by_key
    failed = [trial for trial in study.trials if trial.status == FAILED]
    return _failures([(trial.point, trial.reason, records.get(trial.key, {})) for trial in failed])


def hosts(records: Sequence[Record | None]) -> pd.DataFrame:
    """Return for each host how many cells it computed and how long they took.

    Args:
        records: Of each cell the record that counts, None where it waits.
    """
    rows = [(r["host"], r["seconds"], r["status"] == FAILED) for r in records if r]
    table: Any = pd.DataFrame(rows, columns=["host", "seconds", "failed"])
    grouped = table.groupby("host")
    return pd.DataFrame(
        {
            "cells": grouped.size(),
            "failed": grouped["failed"].sum(),
            "median of a cell (s)": grouped["seconds"].median().map("{:.3g}".format),
            "longest cell (s)": grouped["seconds"].max().map("{:.3g}".format),
            "in all (s)": grouped["seconds"].sum().map("{:.4g}".format),
        }
    )


def results(dataset: xr.Dataset) -> pd.DataFrame:
    """Return each variable of a sweep's combined dataset with its dimensions and its range."""
    rows = []
    for name, variable in dataset.data_vars.items():
        is_number = variable.dtype.kind in "iuf"
        values = variable.values[pd.notna(variable.values)] if is_number else None
        numbers = ("", "", "") if values is None or not values.size else _spread(values)
        unit = in_print(str(variable.attrs.get("units", "")))
        size = " x ".join(f"{dim} {n}" for dim, n in variable.sizes.items())
        rows.append((name, unit, size, *numbers))
    columns = ["result", "unit", "size", "lowest", "mean", "highest"]
    return pd.DataFrame(rows, columns=columns).set_index("result")


def verdict(study: Study) -> pd.DataFrame:
    """Return the best trial beside the defaults, as found and with fresh seeds."""
    found, metric = study.verdict, study.plan["metric"]
    if found.best is None:
        return pd.DataFrame({"best": ["no trial is complete"]}, index=[metric])
    known = {name: with_error(**value) for name, value in found.metrics().items()}
    rows = {metric: ("best", "baseline", "gain")}
    if found.seeds:
        confirmed = ("best_confirmed", "baseline_confirmed", "gain_confirmed")
        rows[f"{metric}, mean of {len(found.seeds)} fresh seeds"] = confirmed
    columns = ["best", "defaults", "better by"]
    table = {row: [known.get(name, "-") for name in names] for row, names in rows.items()}
    defaults = found.baseline_point or {}
    table |= {n: [_short(v), _short(defaults.get(n, "-")), ""] for n, v in found.best.point.items()}
    return pd.DataFrame.from_dict(table, orient="index", columns=columns)


def _failures(failed: Sequence[tuple[Mapping[str, Any], str, Mapping[str, Any]]]) -> pd.DataFrame:
    columns = ["error", "how often", "first at", "where in the code", "host"]
    if not failed:
        return _facts({"nothing failed": ""})
    counts = Counter(error for _, error, _ in failed)
    first = {error: (point, facts) for point, error, facts in reversed(failed)}
    rows = [
        (error, n, _point(point), _place(facts.get("trace", "")), facts.get("host", ""))
        for error, n in counts.most_common(MOST_ERRORS)
        for point, facts in [first[error]]
    ]
    if len(counts) > MOST_ERRORS:
        others = sum(counts.values()) - sum(row[1] for row in rows)
        rows.append((f"and {len(counts) - MOST_ERRORS} other errors", others, "", "", ""))
    return pd.DataFrame(rows, columns=columns).set_index("error")


def _facts(facts: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({"": facts.values()}, index=list(facts))


def _place(trace: str) -> str:
    """Return file and line of the last entry of a traceback."""
    entries = re.findall(r'File "([^"]*)", line (\d+)', trace)
    return "{}:{}".format(entries[-1][0].rpartition("/")[2], entries[-1][1]) if entries else ""


def _values(values: Sequence[Any], unit: str) -> str:
    different = list(dict.fromkeys(values))
    shown = [_short(value) for value in different]
    text = ", ".join(shown if len(shown) <= 10 else [*shown[:4], "...", *shown[-2:]])
    count = f" ({len(different)} values)" if len(shown) > 10 else ""
    return f"{text} {in_print(unit)}".rstrip() + count


def _range(ends: Sequence[float], unit: str) -> str:
    return f"{ends[0]:g} to {ends[1]:g} {in_print(unit)}".rstrip()


def _spread(values: Any) -> tuple[str, str, str]:
    return f"{values.min():.4g}", f"{values.mean():.4g}", f"{values.max():.4g}"


def _point(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_short(value)}" for name, value in point.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
