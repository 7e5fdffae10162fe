"""The state of a twin: one small record of what it is calibrated to, and how well that still holds."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from physics_twins import __version__
from physics_twins.data import Estimate, note_path, write_text

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

FORMAT = 3
MAX_BYTES = 4_000_000
# Longer than this without data, and a twin is stale unless it says otherwise.
STALE_AFTER_S = 30 * 86400.0

Health = Literal["ok", "stale", "drifted", "outside range"]
Text = Annotated[str, Field(max_length=400, pattern=r"^\P{C}*$")]  # no control characters
Name = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Correlation = dict[Name, dict[Name, float]]


class TwinStateError(ValueError):
    """A state that cannot be read or does not fit; the message names the file or the field."""


class _Record(BaseModel):
    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


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
        correlation: Of the parameters' errors, each pair once; see `correlated`. Pairs that are not in
            it are independent.
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

    format: int = FORMAT
    twin: Name
    data_id: Text
    parameters: dict[Name, Estimate]
    correlation: Correlation = {}
    valid_range: dict[Name, tuple[float, float]] = {}
    model_version: Text = f"physics-twins {__version__}"
    last_sync: datetime
    health: Health = "ok"
    drift_score: float = Field(default=0.0, ge=0)
    drifted: Text = ""
    stale_after_s: float = Field(default=STALE_AFTER_S, gt=0)
    history: tuple[Change, ...] = ()

    @field_validator("format")
    @classmethod
    def _is_known(cls, found: int) -> int:
        if found != FORMAT:
            raise ValueError(f"{found} is not {FORMAT}: update physics-twins, or calibrate again")
        return found

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        pairs = [frozenset((a, b)) for a, row in self.correlation.items() for b in row]
        if unknown := set().union(*pairs) - self.parameters.keys():
            raise ValueError(f"the correlation names {', '.join(sorted(unknown))}: no such parameter")
        if len(set(pairs)) < len(pairs) or any(len(pair) == 1 for pair in pairs):
            raise ValueError("a correlation has each pair of different parameters once")
        if pairs:
            import numpy as np

            if np.linalg.eigvalsh(self._matrix()).min() < -1e-6:
                raise ValueError("a correlation with a negative eigenvalue is one of no errors")
        return self

    def covariance(self) -> "xr.DataArray":
        """Return the covariance of all parameters' errors, (parameter, other).

        Its units are the products of the parameters' units.
        """
        import numpy as np
        import xarray as xr

        names = list(self.parameters)
        sigma = np.array([each.error for each in self.parameters.values()])
        return xr.DataArray(
            self._matrix() * np.outer(sigma, sigma),
            {"parameter": names, "other": names},
            name="covariance",
            attrs={"units": "products of the parameters' units"},
        )

    def _matrix(self) -> "NDArray[np.float64]":
        import numpy as np

        names = list(self.parameters)
        matrix = np.eye(len(names))
        for name, row in self.correlation.items():
            for other, value in row.items():
                i, j = names.index(name), names.index(other)
                matrix[i, j] = matrix[j, i] = value
        return matrix

    def checked(self, *, now: datetime | None = None) -> Self:
        """Return this state with its health as it is at a time, by default now.

        A parameter outside its range counts most, then drift, then age.
        """
        age = (now or datetime.now(UTC)) - self.last_sync
        health: Health = "ok"
        if age.total_seconds() > self.stale_after_s:
            health = "stale"
        if self.drift_score >= 1:
            health = "drifted"
        if not all(self.in_range(name) for name in self.parameters):
            health = "outside range"
        return self.model_copy(update={"health": health})

    def in_range(self, name: str) -> bool:
        """Return whether a parameter's value lies in its valid range, or has none."""
        value = self.parameters[name].value
        low, high = self.valid_range.get(name, (value, value))
        return low <= value <= high

    def watched(self, drift_score: float, drifted: str = "", *, now: datetime | None = None) -> Self:
        """Return this state after a monitor has seen data up to now.

        Args:
            drift_score: Strongest sign of a change over its threshold.
            drifted: The parameter that the sign is about, where it is 1 or more.
            now: When; the present by default.
        """
        now = now or datetime.now(UTC)
        changes = {"drift_score": float(drift_score), "drifted": drifted, "last_sync": now}
        return self.model_copy(update=changes).checked(now=now)

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
            TwinStateError: The file is no state, or one of another format; the message names the field.
        """
        path = Path(path)
        if path.stat().st_size > MAX_BYTES:
            raise TwinStateError(f"{path} has {path.stat().st_size} bytes, a state at most {MAX_BYTES}")
        content = path.read_bytes()
        note_path(path)
        try:
            return cls.model_validate_json(_of_this_format(content, path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the record"
            problem = first["msg"].removeprefix("Value error, ")
            raise TwinStateError(f"{path}: {where!r}: {problem}") from None


def _of_this_format(content: bytes, path: Path) -> bytes:
    """Return a record of formats 1 and 2 as one of this format, all else as it is."""
    try:
        old = json.loads(content)
        if old.get("format") not in (1, 2):
            return content
        if old["format"] == 1:
            warnings.warn(f"{path}: its parameters are taken as independent", stacklevel=3)
        known = old.pop("correlation", None) or {"names": [], "matrix": []}
        old["correlation"] = correlated(known["names"], known["matrix"])
        ranges = old.pop("valid_range", {})
        old["valid_range"] = {name: [ends["low"], ends["high"]] for name, ends in ranges.items()}
        return json.dumps(old | {"format": FORMAT}).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return content  # is refused as a damaged one


@dataclass(frozen=True)
class Calibration:
    """A twin as data say it is: what fitting it to them gives.

    Attributes:
        twin: Which twin.
        parameters: Each with its 68 % interval; one that was held has none.
        correlation: Of the errors of those that were fitted together; see `correlated`.
        residual: What the calibrated twin leaves of the data.
        score: How well the data are explained, by name: a p-value, a reduced chi-squared, say.
        valid_range: Where the twin was tested, of each parameter that has such a range.
        model: What explains the data: a model's address, or the code's version.
    """

    twin: str
    parameters: dict[str, Estimate]
    correlation: Correlation
    residual: "xr.Dataset"
    score: dict[str, float]
    valid_range: Mapping[str, tuple[float, float]]
    model: str

    def state(self, data_id: str, *, now: datetime | None = None) -> TwinState:
        """Return the twin's state record.

        Args:
            data_id: What tells the data from others.
            now: When they were seen; the present by default.
        """
        known = {n: ends for n, ends in self.valid_range.items() if n in self.parameters}
        return TwinState(
            twin=self.twin,
            data_id=data_id,
            parameters=self.parameters,
            correlation=self.correlation,
            valid_range={n: (float(low), float(high)) for n, (low, high) in known.items()},
            model_version=self.model,
            last_sync=now or datetime.now(UTC),
        ).checked(now=now)

    def update(
        self, state: TwinState, *, data_id: str, reason: str, now: datetime | None = None
    ) -> TwinState:
        """Return a state with these parameters; the old ones go into its history.

        Those that were not fitted stay as they were, with what correlates them among each other.

        Args:
            state: That of the same twin.
            data_id: What this was calibrated on.
            reason: Why, for the history.
            now: When; the present by default.

        Raises:
            TwinStateError: It is a state of another twin, or a parameter has another unit.
        """
        if state.twin != self.twin:
            raise TwinStateError(f"a calibration of {self.twin} cannot update a state of {state.twin}")
        new, now = self.parameters, now or datetime.now(UTC)
        for name in new.keys() & state.parameters.keys():
            unit, old = new[name].unit, state.parameters[name].unit
            if unit != old:
                raise TwinStateError(f"{name} is in {unit!r}, but the state has it in {old!r}")
        kept = {
            name: {other: value for other, value in row.items() if other not in new}
            for name, row in state.correlation.items()
            if name not in new
        }
        past = Change(
            time=now,
            reason=reason,
            health=state.health,
            data_id=state.data_id,
            parameters=state.parameters,
        )
        changes: dict[str, Any] = {
            "parameters": state.parameters | new,
            "correlation": kept | self.correlation,
            "data_id": data_id,
            "drift_score": 0.0,
            "drifted": "",
            "last_sync": now,
            "history": (*state.history, past),
        }
        return TwinState(**(dict(state) | changes)).checked(now=now)


def correlated(names: Sequence[str], covariance: "ArrayLike") -> dict[str, dict[str, float]]:
    """Return how the errors of parameters that were fitted together hang together, each pair once.

    Args:
        names: The parameters.
        covariance: Of their errors, shape (parameter, parameter).

    >>> correlated(["width_ms", "scattering_ms"], [[0.01, -0.015], [-0.015, 0.09]])
    {'width_ms': {'scattering_ms': -0.5}, 'scattering_ms': {}}
    """
    import numpy as np

    matrix = np.asarray(covariance, dtype=float)
    sigma = np.sqrt(np.diag(matrix))
    sigma[sigma == 0] = 1.0
    found = np.clip(matrix / np.outer(sigma, sigma), -1, 1)
    return {
        name: {other: float(found[n, m]) for m, other in enumerate(names) if m > n}
        for n, name in enumerate(names)
    }
