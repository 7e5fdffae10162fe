"""Small functions that tests sweep; workers import them from here."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import xarray as xr
from pendulum import PendulumParameters

from physics_twins.data import note_path
from physics_twins.parameters import Parameters, field


class NoiseParameters(Parameters):
    """How much a measurement is disturbed."""

    noise_s: float = field(0.0, ge=0, le=1, unit="s", help="Standard deviation of a time")
    times_path: str = field("", help="A file of times", input_file=True)


def period(pendulum: PendulumParameters, *, seed: int = 1) -> dict[str, object]:
    """Period of a pendulum.

    The seed changes nothing.
    """
    value = 2 * np.pi * np.sqrt(pendulum.length_m / 9.81)
    return {"period_s": {"value": value, "error": 0.01, "unit": "s"}, "n_swings": pendulum.n_swings}


def noisy(pendulum: PendulumParameters, noise: NoiseParameters, *, scale: float = 1.0) -> float:
    return pendulum.length_m * scale + noise.noise_s


def every_kind(a: float, n: int = 2, damped: bool = False, label: str = "x", other: object = None):
    return {"a": a, "n": n, "damped": damped}


def square(x: float) -> float:
    """Square of a number."""
    return x**2


def swing(length_m: float = 1.0, n_times: int = 4) -> xr.Dataset:
    """Swing of a pendulum, as a dataset."""
    times = np.linspace(0, 1, n_times)
    angle = np.cos(times * np.sqrt(9.81 / length_m))
    return xr.Dataset(
        {"angle_rad": ("time", angle, {"units": "rad"})}, {"time": ("time", times, {"units": "s"})}
    )


def awkward(x: float, how: str = "") -> float:
    """Return x, or do something that a cell should not do, where x is 3."""
    if x == 3:
        _misbehave(how)
    return x


def logged(x: float, log: str, pause_s: float = 0.05, block: str = "") -> float:
    """Return x, and leave a line in a log at the begin and at the end.

    Where `block` names a file, the cells from 4 on wait until it is gone.
    """
    note(log, f"start {x:g}")
    time.sleep(pause_s)
    while block and x >= 4 and Path(block).exists():
        time.sleep(0.02)
    note(log, f"end {x:g}")
    return x


def note(log: str, text: str) -> None:
    """Append one line with the time; lines of several processes do not mix."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{time.time():.6f} {os.getpid()} {text}\n".encode())
    os.close(file)


def _misbehave(how: str) -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        raise SystemExit(3)
    if how == "cancelled":
        import asyncio

        raise asyncio.CancelledError
    if how == "surrogate":
        raise OSError("no file \udcff")
    if how == "mute":
        raise MuteError
    if how == "object":
        return
    raise ValueError(f"three is\ntoo much: {how}")


class MuteError(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("mute")


def returns_text(x: float) -> str:
    return f"x = {x:g}"


def returns_nothing(x: float) -> None:
    """Return nothing."""


def without_annotation(x):
    return x


def positional_only(x: float, /) -> float:
    return x


def many(*values: float, x: float = 1.0, **options: float) -> float:
    return x


def same_name_twice(pendulum: PendulumParameters, length_m: float = 5.0) -> float:
    return length_m


def unknown_annotation(x: "NoSuchThing") -> float:  # noqa: F821
    return 0.0


def shadowing(copy: bool = True, schema: str = "x") -> float:
    return float(copy)


class Callable:
    """An object that can be called."""

    def __call__(self, x: float) -> float:
        return x

    def method(self, x: float) -> float:
        return x


def maker():
    def nested(x: float) -> float:
        return x

    return nested


instance = Callable()
nameless = lambda x: x  # noqa: E731
number = 3


GIVEN: object = None


def given() -> object:
    """Return what a test has set."""
    return GIVEN


def reading(x: float, *, table: str = "") -> float:
    """A number from a file that no parameter declares as an input."""
    note_path(Path(table))
    return x * float(Path(table).read_text())
