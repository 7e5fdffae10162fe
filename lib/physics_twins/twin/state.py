"""The state of a twin: one small record of what it is calibrated to, and how well that still holds."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from physics_twins import __version__
from physics_twins.data import Estimate, Text, note_path, read_json, write_text

if TYPE_CHECKING:
    import xarray as xr

FORMAT = 2
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


class Range(_Record):
    """Where a twin is valid, in a parameter's unit."""

    low: float
    high: float

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"the range begins at {self.low:g}, above its end {self.high:g}")
        return self


class Correlation(_Record):
    """How the errors of parameters hang together.

    Attributes:
        names: The parameters that were fitted together.
        matrix: Correlations of their errors, a row for each.
    """

    names: tuple[Name, ...]
    matrix: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        import numpy as np

        n = len(self.names)
        if len(set(self.names)) < n or [len(row) for row in self.matrix] != [n] * n:
            raise ValueError(f"the correlation of {n} different parameters needs {n} rows of {n}")
        matrix = np.array(self.matrix).reshape(n, n)
        if not np.allclose(np.diag(matrix), 1) or not np.allclose(matrix, matrix.T):
            raise ValueError("a correlation must be symmetric, with 1 on its diagonal")
        if n and np.linalg.eigvalsh(matrix).min() < -1e-6:
            raise ValueError("a correlation with a negative eigenvalue is one of no errors")
        return self

    @classmethod
    def of(cls, names: Sequence[str], covariance: Any) -> Self:
        """Return the correlation in a covariance, shape (parameter, parameter)."""
        import numpy as np

        matrix = np.asarray(covariance, dtype=float)
        sigma = np.sqrt(np.diag(matrix))
        scale = np.where(sigma > 0, sigma, 1.0)
        found = np.clip(matrix / np.outer(scale, scale), -1, 1)
        np.fill_diagonal(found, 1.0)
        return cls(names=tuple(names), matrix=tuple(map(tuple, ((found + found.T) / 2).tolist())))

    def over(self, names: Sequence[str]) -> Any:
        """Return the matrix for these parameters; those that it does not know are independent."""
        import numpy as np

        whole = np.eye(len(names))
        here = [names.index(name) for name in self.names if name in names]
        own = [self.names.index(name) for name in self.names if name in names]
        known = np.array(self.matrix).reshape(len(self.names), len(self.names))
        whole[np.ix_(here, here)] = known[np.ix_(own, own)]
        return whole


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
        correlation: Of the parameters' errors. Those that it does not name are independent of all
            others, as all of them are in a record of format 1, which had none: None.
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
    correlation: Correlation | None = None
    valid_range: dict[Name, Range] = {}
    model_version: Text = f"physics-twins {__version__}"
    last_sync: datetime
    health: Health = "ok"
    drift_score: float = Field(default=0.0, ge=0)
    drifted: Text = ""
    stale_after_s: float = Field(default=STALE_AFTER_S, gt=0)
    history: tuple[Change, ...] = ()

    @model_validator(mode="after")
    def _knows_what_is_correlated(self) -> Self:
        unknown = set(self.correlation.names if self.correlation else ()) - self.parameters.keys()
        if unknown:
            raise ValueError(f"the correlation names {', '.join(sorted(unknown))}: no such parameter")
        return self

    def covariance(self) -> "xr.DataArray":
        """Return the covariance of all parameters' errors, (parameter, other).

        Its units are the products of the parameters' units.
        """
        import numpy as np
        import xarray as xr

        names = list(self.parameters)
        sigma = np.array([each.error for each in self.parameters.values()])
        matrix = self.correlation.over(names) if self.correlation else np.eye(len(names))
        return xr.DataArray(
            matrix * np.outer(sigma, sigma),
            {"parameter": names, "other": names},
            name="covariance",
            attrs={"units": "products of the parameters' units"},
        )

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
        correlation: Correlation | None = None,
        now: datetime | None = None,
    ) -> Self:
        """Return the state after a new calibration; the old parameters go into its history.

        Args:
            parameters: The new ones; others stay as they were.
            data_id: What they were calibrated on.
            reason: Why, for the history.
            correlation: Of the new parameters' errors; they are independent of the others.
            now: When; the present by default.

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
            "correlation": self._joined(parameters, correlation),
            "data_id": data_id,
            "drift_score": 0.0,
            "drifted": "",
            "last_sync": now,
            "history": (*self.history, past),
        }
        return type(self)(**(dict(self) | changes)).checked(now=now)

    def _joined(self, new: Mapping[str, Estimate], found: Correlation | None) -> Correlation | None:
        """Return the correlation of what stays and of what is new."""
        if self.correlation is None:
            return found
        kept = [name for name in self.correlation.names if name not in new]
        own = list(found.names) if found else []
        matrix = self.correlation.over([*kept, *own])
        if found:
            matrix[len(kept) :, len(kept) :] = found.over(own)
        matrix[: len(kept), len(kept) :] = matrix[len(kept) :, : len(kept)] = 0.0
        return Correlation.of([*kept, *own], matrix)

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
        write_text(path, self.model_dump_json(indent=2) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the state in a file, which is noted, see `data.note`.

        Raises:
            FileNotFoundError: There is no such file.
            TwinStateError: The file is no state, or one of a newer format; the message names the field.
        """
        path = Path(path)
        if path.stat().st_size > MAX_BYTES:
            raise TwinStateError(f"{path} has {path.stat().st_size} bytes, a state at most {MAX_BYTES}")
        values = _json_object(path)
        note_path(path)
        version = values.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise TwinStateError(
                f"{path} has format {version}, newer than {FORMAT}: update physics-twins"
            )
        try:
            # Format 1 is the same without a correlation.
            newest = {"format": FORMAT} if version == 1 else {}
            return cls.model_validate_json(json.dumps(values | newest))
        except ValidationError as error:
            raise TwinStateError(f"{path}: {_first_problem(error)}") from None


def _json_object(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (ValueError, RecursionError) as error:
        raise TwinStateError(f"{path}: {error}") from None


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "the record"
    return f"{where!r}: {first['msg'].removeprefix('Value error, ')}"
