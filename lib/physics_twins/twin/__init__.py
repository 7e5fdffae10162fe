"""The state of a twin: one small record of what it is calibrated to, and how well that still holds."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from physics_twins import __version__
from physics_twins.data import atomic
from physics_twins.twin.scenarios import changed as changed

FORMAT = 1
MAX_BYTES = 4_000_000
# Longer than this without data, and a twin is stale unless it says otherwise.
STALE_AFTER_S = 30 * 86400.0

Health = Literal["ok", "stale", "drifted", "outside range"]
Name = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class TwinStateError(ValueError):
    """A state that cannot be read or does not fit; the message names the file or the field."""


class _Record(BaseModel):
    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


def _printable(text: str) -> str:
    if not text.isprintable() or len(text) > 400:
        raise ValueError(f"text {text[:40]!r} must be at most 400 printable characters")
    return text


Text = Annotated[str, AfterValidator(_printable)]


class Estimate(_Record):
    """A value with the ends of its 68 % interval, all in one unit.

    >>> Estimate.of(56.8, 0.1, "pc cm-3").text
    '56.80 +- 0.10 pc cm-3'
    """

    value: float
    low: float
    high: float
    unit: Text = "1"

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value:g} {self.unit} must lie in {self.low:g} to {self.high:g}")
        return self

    @classmethod
    def of(cls, value: float, error: float, unit: str = "1") -> Self:
        """Return an estimate whose interval is `value` plus and minus `error`."""
        value, error = float(value), float(error)
        return cls(value=value, low=value - error, high=value + error, unit=unit)

    @property
    def error(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    @property
    def text(self) -> str:
        """The estimate in words, to two digits of its error."""
        unit = "" if self.unit == "1" else f" {self.unit}"
        up, down = self.high - self.value, self.value - self.low
        if self.error <= 0:
            return f"{self.value:g}{unit}"
        digits = max(0, 1 - math.floor(math.log10(self.error)))
        if abs(up - down) < 0.1 * self.error:
            return f"{self.value:.{digits}f} +- {self.error:.{digits}f}{unit}"
        return f"{self.value:.{digits}f} +{up:.{digits}f} -{down:.{digits}f}{unit}"

    def covers(self, truth: float) -> bool:
        """Return whether a value lies in the interval."""
        return self.low <= truth <= self.high

    def distance(self, other: "Estimate") -> float:
        """Return the difference to another estimate in standard errors of both."""
        sigma = math.hypot(self.error, other.error)
        difference = other.value - self.value
        return difference / sigma if sigma > 0 else math.copysign(math.inf, difference)


class Range(_Record):
    """Where a twin is valid, in a parameter's unit."""

    low: float
    high: float

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"the range begins at {self.low:g}, above its end {self.high:g}")
        return self


class Change(_Record):
    """One entry of a state's history: when, what happened, and what the parameters were before."""

    time: datetime
    reason: Text
    health: Health
    data_id: Text
    parameters: dict[Name, Estimate]


class TwinState(_Record):
    """What a twin is calibrated to, and whether that still holds.

    Attributes:
        twin: Which twin: `pulsar`, say.
        data_id: What it was calibrated on: name and SHA-256 of a file, or parameters and seed.
        parameters: Each parameter with its 68 % interval.
        valid_range: Where the calibration was tested, for each parameter that has such a range.
        model_version: Version of the code or the model that explains the data.
        last_sync: When it last saw the data it stands for.
        health: `ok`; `stale`, when it saw none for `stale_after_s`; `drifted`, when a monitor found a
            change; `outside range`, when a parameter left its valid range.
        drift_score: Strongest sign of a change over its alarm threshold; an alarm is at 1.
        drifted: The parameter that the alarm is about, "" without one.
        stale_after_s: How long it may go without data.
        history: Earlier parameters, the oldest first.
    """

    format: int = Field(default=FORMAT, ge=1, le=FORMAT)
    twin: Name
    data_id: Text
    parameters: dict[Name, Estimate]
    valid_range: dict[Name, Range] = {}
    model_version: Text = f"physics-twins {__version__}"
    last_sync: datetime
    health: Health = "ok"
    drift_score: float = Field(default=0.0, ge=0)
    drifted: Text = ""
    stale_after_s: float = Field(default=STALE_AFTER_S, gt=0)
    history: tuple[Change, ...] = ()

    def checked(self, *, now: datetime | None = None) -> Self:
        """Return this state with its health as it is at a time, by default now.

        A parameter outside its range counts most, then drift, then age.
        """
        now = now or datetime.now(UTC)
        outside = [name for name in self.parameters if not self.in_range(name)]
        health: Health = "ok"
        if (now - self.last_sync).total_seconds() > self.stale_after_s:
            health = "stale"
        if self.drift_score >= 1:
            health = "drifted"
        if outside:
            health = "outside range"
        return self.model_copy(update={"health": health})

    def in_range(self, name: str) -> bool:
        """Return whether a parameter's value lies in its valid range, or has none."""
        limits = self.valid_range.get(name)
        return limits is None or limits.low <= self.parameters[name].value <= limits.high

    def watched(self, drift_score: float, drifted: str = "", *, now: datetime | None = None) -> Self:
        """Return this state after a monitor has seen data up to now.

        Args:
            drift_score: Strongest sign of a change over its threshold.
            drifted: The parameter that the sign is about.
            now: When; the present by default.
        """
        now = now or datetime.now(UTC)
        changes = {
            "drift_score": float(drift_score),
            "drifted": drifted if drift_score >= 1 else "",
            "last_sync": now,
        }
        return self.model_copy(update=changes).checked(now=now)

    def updated(
        self,
        parameters: Mapping[str, Estimate],
        *,
        data_id: str,
        reason: str,
        now: datetime | None = None,
    ) -> Self:
        """Return the state after a new calibration; the old parameters go into its history.

        Raises:
            TwinStateError: A parameter has another unit than before, or the text is not allowed.
        """
        now = now or datetime.now(UTC)
        for name in parameters.keys() & self.parameters.keys():
            old, new = self.parameters[name].unit, parameters[name].unit
            if old != new:
                raise TwinStateError(f"{name} is in {new!r}, but the state has it in {old!r}")
        past = Change(
            time=now,
            reason=reason,
            health=self.health,
            data_id=self.data_id,
            parameters=self.parameters,
        )
        changes: dict[str, Any] = {
            "parameters": self.parameters | dict(parameters),
            "data_id": data_id,
            "drift_score": 0.0,
            "drifted": "",
            "last_sync": now,
            "history": (*self.history, past),
        }
        return type(self)(**(dict(self) | changes)).checked(now=now)

    def compare(self, other: "TwinState") -> dict[str, float]:
        """Return for each parameter of both its change to another state, in standard errors.

        Raises:
            TwinStateError: They are states of different twins.
        """
        if self.twin != other.twin:
            raise TwinStateError(f"a state of {self.twin} cannot be compared with one of {other.twin}")
        common = [name for name in self.parameters if name in other.parameters]
        return {name: self.parameters[name].distance(other.parameters[name]) for name in common}

    def save(self, path: str | Path) -> Path:
        """Write the state as JSON in one step; return its path."""
        path = Path(path)
        atomic.write_text(path, self.model_dump_json(indent=2) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the state in a file.

        Raises:
            FileNotFoundError: There is no such file.
            TwinStateError: The file is no state, or one of a newer format; the message names the field.
        """
        path = Path(path)
        if path.stat().st_size > MAX_BYTES:
            raise TwinStateError(f"{path} has {path.stat().st_size} bytes, a state at most {MAX_BYTES}")
        values = _json_object(path)
        version = values.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise TwinStateError(
                f"{path} has format {version}, newer than {FORMAT}: update physics-twins"
            )
        try:
            return cls.model_validate_json(json.dumps(values))
        except ValidationError as error:
            raise TwinStateError(f"{path}: {_first_problem(error)}") from None


def _json_object(path: Path) -> dict[str, Any]:
    try:
        return atomic.read_json(path)
    except (ValueError, RecursionError) as error:
        raise TwinStateError(f"{path}: {error}") from None


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "the record"
    return f"{where!r}: {first['msg'].removeprefix('Value error, ')}"
