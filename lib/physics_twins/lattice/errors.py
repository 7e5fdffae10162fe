"""Means of autocorrelated chains with the errors they deserve, and a word where they deserve none.

The errors are those of the Gamma method (Wolff 2004, Comput. Phys. Commun. 156, 143), by pyerrors.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from physics_twins.data import Estimate

LEAST_AUTOCORRELATION_TIMES = 50
LEAST_SECTOR_CHANGES = 50


@dataclass(frozen=True)
class Measured:
    """What chains say of one number.

    Attributes:
        estimate: The value with its error, whether or not both may be believed.
        tau: Integrated autocorrelation time with its error, in measurements; 1/2 where there is none.
        reason: Why it is not to be quoted; "" where it is.
    """

    estimate: Estimate
    tau: Estimate
    reason: str

    @property
    def text(self) -> str:
        """The value in words, or why there is none."""
        return f"not quoted: {self.reason}" if self.reason else self.estimate.text


def measured(chains: xr.Dataset) -> dict[str, Measured]:
    """Return by name what chains of `simulate` say of the theory.

    Of phi4 `susceptibility`, `phi2`, `action` for each site and, where all sides are equal,
    `correlation_length` from the power at the smallest momentum; of gauge fields `plaquette`, and of
    periodic U(1) `charge_squared`, of SU(N) `polyakov_squared`, the square of the absolute value.
    """
    frozen, facts = frozen_topology(chains), chains.attrs
    n_time = facts["n_time"] or facts["side"]
    n_sites = n_time * facts["side"] ** (facts["n_dimensions"] - 1)
    values = {str(name): history.values for name, history in chains.data_vars.items()}
    if facts["theory"] != "phi4":
        found = {"plaquette": average(values["plaquette"], frozen=frozen)}
        if "charge" in values and not facts["n_c_directions"]:
            return found | {"charge_squared": average(values["charge"] ** 2, frozen=frozen)}
        if "charge" in values:
            return found
        squares = values["polyakov_real"] ** 2 + values["polyakov_imaginary"] ** 2
        return found | {"polyakov_squared": average(squares)}
    powers = n_sites * values["magnetisation"] ** 2
    found = {"susceptibility": average(powers)}
    found |= {name: average(values[name]) for name in ("phi2", "action")}
    if n_time == facts["side"] and powers.mean() > values["structure"].mean():
        momentum = 2 * np.sin(np.pi / n_time)

        def length(zero: Any, smallest: Any) -> Any:
            return np.sqrt(zero / smallest - 1) / momentum

        found["correlation_length"] = average(powers, values["structure"], of_means=length)
    return found


def average(
    *histories: ArrayLike, of_means: Callable[..., Any] | None = None, frozen: str = ""
) -> Measured:
    """Return the mean of a history, or a function of the means of several, with its error.

    Args:
        histories: Each (chain, measurement), of equal shape.
        of_means: A function of the means, made of arithmetic and numpy's functions.
        frozen: Why these chains are not to be believed, as `frozen_topology` says.
    """
    module = pyerrors()
    series = [np.atleast_2d(np.asarray(history, dtype=float)) for history in histories]
    combine = of_means or (lambda mean: mean)
    if any(np.ptp(each) == 0 for each in series):
        value = Estimate.of(combine(*(each.mean() for each in series)))
        return Measured(value, Estimate.of(0.5), frozen or "all measurements are the same")
    names = [f"chain|r{n}" for n in range(len(series[0]))]
    found = combine(*(module.Obs(list(each), names) for each in series))
    found.gamma_method()
    tau, tau_error = found.e_tauint["chain"], found.e_dtauint["chain"]
    n, least = series[0].shape[1], LEAST_AUTOCORRELATION_TIMES
    short = f"chains of {n} are shorter than {least} autocorrelation times of {tau:.3g}"
    reason = frozen or (short if n < least * tau else "")
    return Measured(Estimate.of(found.value, found.dvalue), Estimate.of(tau, tau_error), reason)


def pyerrors() -> Any:
    """Return the package pyerrors, whose import warns of what is not used here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of scipy.odr, which is not used here
        import pyerrors as module
    return module


def frozen_topology(chains: xr.Dataset) -> str:
    """Return why the charge of chains is not to be believed; "" where it is, or where there is none."""
    if "charge" not in chains or chains.attrs["n_c_directions"]:
        return ""
    changes, least = int(sector_changes(chains).min()), LEAST_SECTOR_CHANGES
    if changes >= least:
        return ""
    return f"topology is frozen, a chain changed its charge {changes} times, {least} are the least"


def sector_changes(chains: xr.Dataset) -> xr.DataArray:
    """Return how often the charge of each chain changed from one measurement to the next, (chain)."""
    changes = (abs(chains["charge"].diff("measurement")) > 0.5).sum("measurement")
    return changes.assign_attrs(units="1", long_name="changes of the topological charge")


def effective_sample_size(log_weights: NDArray[Any]) -> float:
    """Return the effective sample size of weighted fields, as a part of their number.

    >>> effective_sample_size(np.log([1.0, 1.0])), effective_sample_size(np.array([0.0, -1000.0]))
    (1.0, 0.5)
    """
    weights = np.exp(log_weights - log_weights.max())
    return float(weights.mean() ** 2 / np.mean(weights**2))
