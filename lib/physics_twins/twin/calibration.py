"""What fitting a twin to data gives: one record for all twins."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import xarray as xr

from physics_twins.data import Estimate
from physics_twins.twin.state import Correlation, Range, TwinState, TwinStateError


@dataclass(frozen=True)
class Calibration:
    """A twin as data say it is.

    Attributes:
        twin: Which twin.
        parameters: Each with its 68 % interval; one that was held has none.
        correlation: Of the errors of those that were fitted together.
        parts: What each error is made of, in the parameter's unit: a variable for each source,
            dimension `parameter`, with the coordinate `unit`.
        residual: What the calibrated twin leaves of the data.
        score: How well the data are explained, by name: a p-value, a reduced chi-squared, say.
        valid_range: Where the twin was tested, of each parameter that has such a range.
        model: What explains the data: a model's address, or the code's version.
    """

    twin: str
    parameters: dict[str, Estimate]
    correlation: Correlation
    parts: xr.Dataset
    residual: xr.Dataset
    score: dict[str, float]
    valid_range: Mapping[str, tuple[float, float]]
    model: str

    def state(self, data_id: str, *, now: datetime | None = None) -> TwinState:
        """Return the twin's state record.

        Args:
            data_id: What tells the data from others.
            now: When they were seen; the present by default.
        """
        ranges = {
            name: Range(low=float(low), high=float(high))
            for name, (low, high) in self.valid_range.items()
            if name in self.parameters
        }
        return TwinState(
            twin=self.twin,
            data_id=data_id,
            parameters=self.parameters,
            correlation=self.correlation,
            valid_range=ranges,
            model_version=self.model,
            last_sync=now or datetime.now(UTC),
        ).checked(now=now)

    def update(
        self, state: TwinState, *, data_id: str, reason: str, now: datetime | None = None
    ) -> TwinState:
        """Return a state with these parameters; the old ones go into its history.

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
        told = {"data_id": data_id, "reason": reason, "now": now, "correlation": self.correlation}
        return state.updated(self.parameters, **told)


def parts_of_error(
    parts: Mapping[str, tuple[str, Mapping[str, float]]], parameters: Mapping[str, Estimate]
) -> xr.Dataset:
    """Return what each parameter's error is made of.

    Args:
        parts: For each source of error what it is, and its size for each parameter.
        parameters: Those that were fitted.
    """
    names = list(parameters)
    return xr.Dataset(
        {
            source: (
                "parameter",
                [each[name] for name in names],
                {"units": "as in unit", "long_name": about},
            )
            for source, (about, each) in parts.items()
        },
        {
            "parameter": ("parameter", names),
            "unit": ("parameter", [each.unit for each in parameters.values()]),
        },
    )
