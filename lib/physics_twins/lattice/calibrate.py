"""Calibrate the twin: the couplings of the theory that an ensemble was drawn from, with errors.

The couplings are those at which the twin's own chains have the reference's means of the terms of the
action, each the term that its coupling multiplies: of all couplings the most likely. Terms answer to
couplings by their own fluctuations, d<E_i>/dg_j = -cov(E_i, E_j), so that each step simulates once.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from physics_twins import twin
from physics_twins.data import Estimate, content_sha256
from physics_twins.lattice.errors import average, frozen_topology, pyerrors
from physics_twins.lattice.parameters import LatticeParameters
from physics_twins.lattice.simulate import DIRECTIONS, simulate
from physics_twins.parameters import ParameterError
from physics_twins.twin import TwinState

_MOST_ROUNDS = 40
_FURTHEST = 2.0  # of a step, in standard deviations of single fields: beyond, answers are not linear
_NEAR = 0.3
_SHORT = 10  # rounds on the way have so many times fewer measurements


def calibrate(
    reference: xr.Dataset,
    *,
    start: LatticeParameters,
    seed: int,
    prior: TwinState | None = None,
    client: Any = None,
) -> twin.Calibration:
    """Match the couplings to a reference ensemble.

    Args:
        reference: Chains in the form of `simulate`, or one configuration from `files.read`, whose
            scatter is then that of the twin's own fields.
        start: The theory and its lattice, the couplings to begin with, and how the twin's own chains
            are drawn: their finite length is a part of the errors.
        seed: Of the twin's own chains.
        prior: What was known before; both are put together by their covariances.
        client: A Dask client whose workers draw the twin's chains.

    Returns:
        Its parameters are `mass2` and `quartic`, or `beta`. The residual has what the fit did not use,
        reference less twin; the score is the p-value of that, and of the prior against the reference.

    Raises:
        ValueError: The reference has another lattice or theory, is too short or frozen, or no couplings
            in their ranges match it.
    """
    _same_theory(reference, start)
    target = energies(reference, start)
    _refuse_short(reference, target)
    near, chains = _matched(target.mean(axis=(1, 2)), start, seed, client)
    own = energies(chains, near)
    _refuse_short(chains, own, whose="the twin's own chains")
    spread = np.atleast_2d(np.cov(own.reshape(len(own), -1)))
    answer = np.linalg.inv(spread)
    theirs, ours = _observed(target, "reference", spread), _observed(own, "twin")
    names = couplings(start)
    shifts = answer @ (ours - theirs)
    values = np.array([getattr(near, name) for name in names]) + shifts
    covariance = _covariance(values)
    found = np.array([each.value for each in values])
    residual, score = _residual(reference, chains, near, own, shifts)
    if prior is not None:
        found, covariance, score["prior_p_value"] = _with_prior(names, found, covariance, prior)
    errors = np.sqrt(np.diag(covariance))
    known = {n: Estimate.of(v, e) for n, v, e in zip(names, found, errors, strict=True)}
    widths = np.sqrt(np.diag(answer))  # so far, weights of the twin's fields tell
    ends = {
        name: (float(getattr(near, name) - width), float(getattr(near, name) + width))
        for name, width in zip(names, widths, strict=True)
    }
    return twin.Calibration(
        twin="lattice",
        parameters=known,
        correlation=twin.correlated(names, covariance),
        residual=residual,
        score=score,
        valid_range=ends,
        model=f"{chains.sizes['chain']} chains of {near.method}",
    )


def update(
    state: TwinState, new: xr.Dataset, *, start: LatticeParameters, seed: int, reason: str
) -> TwinState:
    """Return a state that has learnt from new configurations, with its past as prior.

    After an alarm the past counts for nothing: then the new ones tell alone.

    Args:
        state: What was known.
        new: As in `calibrate`.
        start: As in `calibrate`.
        seed: As in `calibrate`.
        reason: Why, for the state's history.
    """
    prior = None if state.drift_score >= 1 else state
    again = calibrate(new, start=start, seed=seed, prior=prior)
    return again.update(state, data_id=identity(new), reason=reason)


def couplings(parameters: LatticeParameters) -> tuple[str, ...]:
    """Return the names of a theory's couplings."""
    return ("beta",) if parameters.is_gauge else ("mass2", "quartic")


def identity(reference: xr.Dataset) -> str:
    """Return what tells a reference from others: its title and SHA-256."""
    return f"{reference.attrs.get('title', 'fields')} sha256:{content_sha256(reference)}"


def theory_of(configuration: xr.Dataset, chains: LatticeParameters) -> LatticeParameters:
    """Return the pure gauge theory on the lattice of a file, with chains and beta of other parameters.

    Raises:
        ValueError: Its sides in space differ, or it is neither SU(2) nor SU(3).
    """
    t, *space = (configuration.sizes[name] for name in DIRECTIONS)
    theory = f"su{configuration.sizes['row']}"
    if len(set(space)) > 1 or theory not in ("su2", "su3"):
        raise ValueError(f"the twin has SU(2) and SU(3) on cubes of space, not {theory} on {space}")
    lattice = {"n_dimensions": 4, "n_time": t, "side": space[0], "n_c_directions": 0}
    return LatticeParameters.model_validate(
        dict(chains) | lattice | {"theory": theory, "sampler": "best"}
    )


def energies(chains: xr.Dataset, parameters: LatticeParameters) -> NDArray[np.float64]:
    """Return the terms of the action that the couplings multiply, (coupling, chain, measurement)."""
    n_sites, size = math.prod(parameters.shape), parameters.n_dimensions
    if parameters.is_gauge:
        plaquettes = np.atleast_2d(chains["plaquette"].values)
        return n_sites * size * (size - 1) // 2 * (1 - plaquettes)[None]
    return n_sites * np.array([np.atleast_2d(chains[name].values) for name in ("phi2", "phi4")])


def derived(chains: xr.Dataset, parameters: LatticeParameters) -> dict[str, NDArray[np.float64]]:
    """Return histories of what the couplings do not multiply, by name, (chain, measurement)."""
    values = {str(name): history.values for name, history in chains.data_vars.items()}
    if not parameters.is_gauge:
        susceptibility = math.prod(parameters.shape) * values["magnetisation"] ** 2
        return {"susceptibility": susceptibility, "structure": values["structure"]}
    if "charge" in values:
        return {} if parameters.n_c_directions else {"charge_squared": values["charge"] ** 2}
    if "polyakov_real" not in values:  # another program's run data
        return {}
    squares = values["polyakov_real"] ** 2 + values["polyakov_imaginary"] ** 2
    return {"polyakov_squared": squares}


def _same_theory(reference: xr.Dataset, start: LatticeParameters) -> None:
    if "measurement" in reference.dims:
        facts = LatticeParameters.model_fields.keys() & reference.attrs.keys()
        same = ("theory", "n_dimensions", "side", "n_time", "n_c_directions")
        wrong = [n for n in same if n in facts and reference.attrs[n] != getattr(start, n)]
        if wrong:
            name = wrong[0]
            raise ValueError(
                f"the reference has {name} = {reference.attrs[name]}, the start {getattr(start, name)}"
            )
        return
    if "plaquette" not in reference or "row" not in reference.sizes:
        raise ValueError("the reference is neither chains of `simulate` nor a configuration of a file")
    theory = f"su{reference.sizes['row']}"
    shape = tuple(reference.sizes[name] for name in DIRECTIONS)
    if (theory, shape) != (start.theory, start.shape) or start.n_c_directions:
        raise ValueError(
            f"the configuration is periodic {theory} on {shape}, the start {start.theory} on"
            f" {start.shape} with {start.n_c_directions} C-periodic directions"
        )


def _refuse_short(chains: xr.Dataset, terms: NDArray[np.float64], whose: str = "the reference") -> None:
    if terms[0].size == 1:
        return
    frozen = frozen_topology(chains)
    reason = next((r for each in terms if (r := average(each, frozen=frozen).reason)), "")
    if reason:
        raise ValueError(f"{whose} cannot be calibrated with: {reason}")


def _matched(
    target: NDArray[np.float64], start: LatticeParameters, seed: int, client: Any
) -> tuple[LatticeParameters, xr.Dataset]:
    """Return couplings near those that match, and long chains of the twin there."""
    names, current = couplings(start), start.replace(n_kept=0)
    short = {"n_measurements": max(50, start.n_measurements // _SHORT), "n_chains": 1}
    for number in range(_MOST_ROUNDS):
        chains = simulate(current.replace(**short), seed=seed + 1 + number, client=client)
        terms = energies(chains, current)
        flat = terms.reshape(len(terms), -1)
        spread = np.atleast_2d(np.cov(flat))
        step = np.linalg.solve(spread, flat.mean(1) - target)
        length = float(np.sqrt(step @ spread @ step))
        step *= min(1.0, _FURTHEST / max(length, 1e-300))
        moved = {n: float(getattr(current, n) + s) for n, s in zip(names, step, strict=True)}
        try:
            current = current.replace(**moved)
        except ParameterError as error:
            raise ValueError(f"no couplings in their ranges match the reference: {error}") from None
        if length < _NEAR:
            return current, simulate(current, seed=seed, client=client)
    raise ValueError(
        f"no couplings were found in {_MOST_ROUNDS} steps; the last are"
        f" {', '.join(f'{n} = {getattr(current, n):g}' for n in names)}: begin nearer"
    )


def _observed(
    terms: NDArray[np.float64], ensemble: str, spread: NDArray[np.float64] | None = None
) -> NDArray[Any]:
    """Return means as pyerrors' observables; of one field, with the scatter that fields have."""
    module = pyerrors()
    if terms[0].size == 1 and spread is not None:
        return np.array(module.cov_Obs(list(terms.mean(axis=(1, 2))), spread, ensemble))
    names = [f"{ensemble}|r{n}" for n in range(terms.shape[1])]
    return np.array([module.Obs(list(each), names) for each in terms])


def _covariance(values: NDArray[Any]) -> NDArray[np.float64]:
    for each in values:
        each.gamma_method()
    return np.atleast_2d(pyerrors().covariance(list(values)))


def _residual(
    reference: xr.Dataset,
    chains: xr.Dataset,
    near: LatticeParameters,
    own: NDArray[np.float64],
    shifts: NDArray[Any],
) -> tuple[xr.Dataset, dict[str, float]]:
    """Return reference less twin of what the couplings do not multiply, and how likely that is."""
    if "measurement" not in reference.dims:
        return xr.Dataset(), {}
    left, theirs = {}, derived(reference, near)
    for name in theirs:
        history = derived(chains, near)[name]
        joint = np.cov(np.vstack([history.reshape(1, -1), own.reshape(len(own), -1)]))
        ours = _observed(history[None], "twin")[0] - joint[0, 1:] @ shifts
        left[name] = _observed(theirs[name][None], "reference")[0] - ours
    if not left:
        return xr.Dataset(), {}
    covariance = _covariance(np.array(list(left.values())))
    away = np.array([each.value for each in left.values()])
    chi2 = float(away @ np.linalg.solve(covariance, away))
    pure = {"units": "1"}
    residual = xr.Dataset(
        {
            "difference": ("number", away, pure | {"long_name": "Reference less twin"}),
            "error": ("number", np.sqrt(np.diag(covariance)), pure),
        },
        {"number": list(left)},
    )
    return residual, {"chi2": chi2, "p_value": float(stats.chi2.sf(chi2, len(left)))}


def _with_prior(
    names: tuple[str, ...], found: NDArray[Any], covariance: NDArray[Any], prior: TwinState
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return what both say together, and how likely it is that they differ so much."""
    if missing := set(names) - prior.parameters.keys():
        raise ValueError(f"the prior does not know {', '.join(sorted(missing))}")
    before = np.array([prior.parameters[name].value for name in names])
    past = prior.covariance().sel(parameter=list(names), other=list(names)).values
    away = found - before
    chi2 = float(away @ np.linalg.solve(covariance + past, away))
    gain = past @ np.linalg.inv(covariance + past)
    return before + gain @ away, past - gain @ past, float(stats.chi2.sf(chi2, len(names)))


def known_couplings(parameters: LatticeParameters, known: Mapping[str, float]) -> LatticeParameters:
    """Return parameters with calibrated couplings."""
    return parameters.replace(**{n: known[n] for n in couplings(parameters) if n in known})
