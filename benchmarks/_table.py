"""The one form of all benchmarks: figures by id, as a table and as JSON.

A script has functions without arguments that return a `Figure`, and ends with
`run_benchmarks({"id": function, ...})`. It is called as
`python benchmarks/NAME.py [--only ID ...] [--json FILE]`.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import _printed
from physics_twins.data import fraction


class Skipped(Exception):
    """A benchmark that cannot run here; the message says what is missing."""


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        value: A number or a list of numbers, in `unit`.
        error: Its standard error or spread, of the same shape; None where it is exact.
        unit: Unit as text, "" for a pure number.
        reference: The peer's or the limit's value, in the same unit.
        device: What it was measured on.
        seeds: Seeds of all random numbers.
    """

    value: float | list[float]
    error: float | list[float] | None = None
    unit: str = ""
    reference: float | str | None = None
    device: str = "cpu"
    seeds: Sequence[int] = field(default_factory=tuple)


def median_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and half the width of the central 68 % of some values.

    >>> median_and_spread([1.0, 2.0, 3.0])
    (2.0, 0.68)
    """
    ordered = sorted(values)
    low, high = (_quantile(ordered, 0.5 + side * 0.34) for side in (-1, 1))
    return statistics.median(ordered), (high - low) / 2


def share_error(share: float, n: int) -> float:
    """Return the standard error of a share of `n`, not zero at its ends; see `data.fraction`.

    >>> round(share_error(0.5, 100), 3), share_error(1.0, 100) > 0
    (0.049, True)
    """
    return float(fraction(share * n, n)[1])


def peak_memory_mb(code: str, *arguments: str) -> float:
    """Return the peak memory of a Python that runs some code, itself included.

    Args:
        code: Statements that import what they need; `sys.argv` holds the arguments from 1.
        arguments: These.

    Raises:
        Skipped: There is no /proc here.
        CalledProcessError: The code failed.
    """
    if not Path("/proc/self/status").exists():
        raise Skipped("peak memory is read from /proc, which only Linux has")
    # Not getrusage: its peak includes that of the process that started this one.
    code += "\nprint(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]) * 1024 / 1e6


def run_benchmarks(
    benchmarks: Mapping[str, Callable[[], Figure]], arguments: Sequence[str] | None = None
) -> int:
    """Measure, print a table, and write JSON where asked; return how many benchmarks broke."""
    parser = argparse.ArgumentParser(epilog=f"ids: {', '.join(benchmarks)}")
    parser.add_argument(
        "--only", nargs="+", metavar="ID", choices=list(benchmarks), default=list(benchmarks)
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as a JSON list")
    options = parser.parse_args(arguments)
    print(_line("id", "value", "error", "unit", "reference", "device"))
    records, n_broken = [], 0
    for name in options.only:
        try:
            figure = benchmarks[name]()
        except Skipped as reason:
            print(f"{name:24}skipped: {reason}", flush=True)
        except Exception as error:  # one broken figure must not hide the others
            n_broken += 1
            print(f"{name:24}broken: {type(error).__name__}: {error}", flush=True)
        else:
            records.append(
                {"id": name, **asdict(figure), "date": date.today().isoformat(), "commit": commit()}
            )
            print(_row(name, figure), flush=True)
    if options.json:
        keep(records, options.json)
    return n_broken


def keep(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write records to a JSON list, in place of those of the same ids that are there; others stay.

    Where the book prints what is kept in this file, it prints the new figures then.
    """
    known = json.loads(path.read_text()) if path.is_file() else []
    if path.resolve().parent == _printed.RESULTS:
        told = (_printed.write_anew(path.stem, known, record) for record in records)
        print(*filter(None, told), sep="\n")
    merged = {record["id"]: record for record in (*known, *records)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(sorted(merged.values(), key=lambda each: each["id"]), indent=1) + "\n")


def commit() -> str:
    """Return the commit of what is measured, with a plus where files differ; "" without git."""
    told = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def this_machine() -> str:
    """Return the number of cores and the kind of processor, as `device` for what runs on it."""
    model = ""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
    return f"{os.cpu_count()} cores {model or sys.platform}"


def this_machine_and_load() -> str:
    """Return the same, and how many processes wanted a core in the last minute."""
    return f"{this_machine()}, load {os.getloadavg()[0]:.1f}"


def _row(name: str, figure: Figure) -> str:
    error, reference = _text(figure.error), _text(figure.reference)
    return _line(name, _text(figure.value), error, figure.unit, reference, figure.device)


def _line(*words: str) -> str:
    widths = (24, 14, 12, 12, 14, 0)
    columns = zip(words, widths, strict=True)
    return "  ".join(f"{word:<{max(0, width - 2)}}" for word, width in columns).rstrip()


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, int | float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def _quantile(ordered: Sequence[float], fraction: float) -> float:
    position = fraction * (len(ordered) - 1)
    below, above = math.floor(position), math.ceil(position)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
