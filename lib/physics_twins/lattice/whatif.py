"""What would be if: a calibrated theory with another coupling, or on a larger lattice.

Both sides of a change of couplings share their fields: those of one simulation are weighted by what
the change does to the action, so that the difference is known far better than either side. Where the
weights would be those of few fields, and on another lattice, a scenario has a simulation of its own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins import twin
from physics_twins.data import Estimate
from physics_twins.lattice.calibrate import couplings, derived, energies, known_couplings
from physics_twins.lattice.errors import effective_sample_size, measured
from physics_twins.lattice.parameters import LatticeParameters
from physics_twins.lattice.simulate import simulate
from physics_twins.twin import Answer, TwinState

NUMBERS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "phi4": {
        "susceptibility": ("1", "Susceptibility"),
        "correlation_length": ("1", "Correlation length"),
        "phi2": ("1", "⟨φ²⟩"),
    },
    "u1": {
        "plaquette": ("1", "Mean plaquette"),
        "charge_squared": ("1", "⟨Q²⟩"),
    },
    "su": {
        "plaquette": ("1", "Mean plaquette"),
        "polyakov_squared": ("1", "⟨|Polyakov loop|²⟩"),
    },
}
LEAST_SAMPLE_SIZE = 0.3  # of weighted fields, as a part of their number
_MOST_BLOCKS, _ENOUGH_BLOCKS = 100, 25  # of a chain
Scenario = Callable[[LatticeParameters], LatticeParameters]


def what_if(
    state: TwinState,
    scenarios: Mapping[str, Scenario],
    *,
    start: LatticeParameters,
    seed: int,
    client: Any = None,
) -> xr.Dataset:
    """Return what other couplings or another lattice would do, beside the calibrated twin.

    Args:
        state: The calibrated state.
        scenarios: What turns the calibrated parameters into others, by the scenario's name, such as
            `twin.changed(side=32)`.
        start: What the state does not know: the lattice, and how its chains are drawn.
        seed: Of all chains.
        client: A Dask client whose workers draw them.

    Returns:
        As `twin.what_if` does, events being pieces of chains; not a number where a chain is too short,
        and the attribute `not_quoted` then says why.

    Raises:
        ParameterError: A scenario has an unknown parameter or one outside its range.
    """
    asked = _Ensembles(start, seed, client)
    found = twin.what_if(asked, state, scenarios, seed=seed)
    return found.assign_attrs(not_quoted="; ".join(asked.reasons))


def scaled(name: str, factor: float) -> Scenario:
    """Return the scenario in which a calibrated coupling is larger by a factor."""
    return lambda parameters: parameters.replace(**{name: factor * getattr(parameters, name)})


def sides(outcome: xr.Dataset, column: str = "value") -> dict[str, dict[str, Estimate]]:
    """Return what each scenario says, for `figures.estimates`; what is not quoted is left out.

    Args:
        outcome: From `what_if`.
        column: `value`, or `difference` to the calibrated twin, which is left out then.
    """
    error = "error" if column == "value" else "difference_error"
    names = outcome["scenario"].values[1 if column == "difference" else 0 :]
    told: dict[str, dict[str, Estimate]] = {}
    for scenario in names:
        one = outcome.sel(scenario=scenario)
        pairs = zip(one["number"].values, one[column].values, one[error].values, strict=True)
        called = "as is" if scenario == "as calibrated" else str(scenario)
        told[called] = {str(n): Estimate.of(v, e) for n, v, e in pairs if np.isfinite(v)}
    return told


class _Ensembles(twin.Asked[LatticeParameters]):
    """The calibrated theory, ready to be asked; it remembers the chains that it has drawn."""

    def __init__(self, start: LatticeParameters, seed: int, client: Any) -> None:
        self._start, self._seed, self._client = start.replace(n_kept=0), seed, client
        self._drawn: list[tuple[LatticeParameters, xr.Dataset]] = []
        kind = "su" if start.theory.startswith("su") else start.theory
        self.numbers = NUMBERS[kind]
        self.reasons: list[str] = []

    def parameters(self, known: Mapping[str, float]) -> LatticeParameters:
        return known_couplings(self._start, known)

    def answers(self, scenario: Scenario, known: Mapping[str, float]) -> Sequence[Answer]:
        asked = scenario(self.parameters(known))
        at, chains, weights = self._fields(asked)
        found = measured(chains)
        reasons = {name: found[name].reason for name in self.numbers if name in found}
        n, tau = chains.sizes["measurement"], max(each.tau.value for each in found.values())
        # A piece's mean has too small a scatter by about tau over twice the piece's length: pieces are
        # long where there are enough of them.
        long = max(_ENOUGH_BLOCKS, n // math.ceil(40 * tau))
        per_chain = max(2, min(_MOST_BLOCKS, long, n // math.ceil(10 * tau)))
        pieces = [part for row in weights for part in np.array_split(row, per_chain)]
        ends = np.concatenate([[0], np.cumsum([len(part) for part in pieces])])
        columns = _columns(chains, at).reshape(-1, weights.size) * weights.ravel()
        sums = np.array([columns[:, a:b].sum(1) for a, b in pairwise(ends)])
        whole = sums.sum(0)
        value = self._of(whole, asked)
        left = np.array([self._of(whole - each, asked) for each in sums])
        for column, name in enumerate(self.numbers):
            if reasons.get(name):
                value[column] = np.nan
                self._note(f"{name}: {reasons[name]}")
        influence = len(sums) * (value - left)
        return [Answer(value, influence - influence.mean(0), np.zeros(len(value)))]

    def _note(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)

    def _fields(
        self, asked: LatticeParameters
    ) -> tuple[LatticeParameters, xr.Dataset, NDArray[np.float64]]:
        """Return chains of the same lattice, where they were drawn, weights (chain, measurement)."""
        names = couplings(asked)
        for at, chains in self._drawn:
            if at.replace(**{name: getattr(asked, name) for name in names}) == asked:
                moved = [getattr(asked, name) - getattr(at, name) for name in names]
                logs = -np.tensordot(moved, energies(chains, at), axes=1)
                if effective_sample_size(logs) > LEAST_SAMPLE_SIZE:
                    return at, chains, np.exp(logs - logs.max())
        chains = simulate(asked, seed=self._seed, client=self._client)
        self._drawn.append((asked, chains))
        return asked, chains, np.ones((chains.sizes["chain"], chains.sizes["measurement"]))

    def _of(self, sums: NDArray[np.float64], asked: LatticeParameters) -> NDArray[np.float64]:
        """Return the numbers from sums of weighted columns, the last of the weights alone."""
        means = sums[:-1] / sums[-1]
        if asked.is_gauge:
            return means
        power, structure, phi2 = means
        length = np.nan
        if len(set(asked.shape)) == 1 and power > structure > 0:
            length = np.sqrt(power / structure - 1) / (2 * np.sin(np.pi / asked.side))
        return np.array([power, length, phi2])


def _columns(chains: xr.Dataset, at: LatticeParameters) -> NDArray[np.float64]:
    """Return what is averaged, and 1, (column, chain, measurement)."""
    first = "plaquette" if at.is_gauge else "phi2"
    mean = chains[first].values
    others = list(derived(chains, at).values())
    ordered = [mean, *others] if at.is_gauge else [*others, mean]
    return np.array([*ordered, np.ones_like(mean)])
