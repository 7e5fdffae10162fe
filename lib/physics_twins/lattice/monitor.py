"""Follow running chains with a calibrated twin, and call when they are no longer of its theory.

Batches of measurements are compared with the twin's own chains at the calibrated couplings: the terms
of the action, what else is measured, and the acceptance. A change of the terms is explained by the
coupling that does it best; one that moves the acceptance alone is the sampler's.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from physics_twins.data import Estimate
from physics_twins.lattice.calibrate import couplings, derived, energies, known_couplings
from physics_twins.lattice.parameters import LatticeParameters
from physics_twins.lattice.simulate import simulate
from physics_twins.lattice.twin_parameters import MonitorParameters
from physics_twins.twin import Evidence, Number, TwinState, Watch

MIN_NORMAL = 16
_LEAST_CHAINS = 4  # of the twin: each tunes its own sampler
_MOST_SIGMA = 3.0  # of a batch: means of squares have tails
_UNLIKELY = 1e-3  # that the terms of the action have not changed
Series = NDArray[np.floating]


class Monitor(Watch[Series]):
    """Watches batches of measurements; a batch is of one chain."""

    frame_word = "Batch"

    def __init__(
        self,
        state: TwinState,
        *,
        start: LatticeParameters,
        settings: MonitorParameters | None = None,
        seed: int,
        client: Any = None,
    ) -> None:
        """Draw the twin's own chains, and learn from them what is normal.

        Args:
            state: The calibrated state.
            start: The lattice, and how chains are drawn: as those that are watched. At least 16 batches
                of them say what is normal.
            settings: Length of a batch, and the alarm's threshold.
            seed: Of the twin's own chains.
            client: A Dask client whose workers draw them.

        Raises:
            ValueError: There are too few batches.
        """
        self.settings = settings or MonitorParameters()
        known = {name: each.value for name, each in state.parameters.items()}
        self._at = known_couplings(start.replace(n_kept=0), known)
        n_chains = max(start.n_chains, _LEAST_CHAINS)
        each = max(start.n_chains * start.n_measurements // n_chains, self.settings.batch)
        own = simulate(
            self._at.replace(n_chains=n_chains, n_measurements=each), seed=seed, client=client
        )
        frames = list(self.frames(own))
        if len(frames) < MIN_NORMAL:
            raise ValueError(
                f"{len(frames)} batches of {self.settings.batch} measurements are too few to know what"
                f" is normal: {MIN_NORMAL} are needed, so raise n_measurements or lower batch"
            )
        means = np.array([self._means(frame) for frame in frames])
        self._normal, self._covariance = means.mean(0), np.cov(means.T)
        names = couplings(start)
        covariance = state.covariance().sel(parameter=list(names), other=list(names)).values
        terms = energies(own, self._at).reshape(len(names), -1)
        others = np.array([each.ravel() for each in self._histories(own).values()])
        both = np.cov(np.vstack([terms, others]))
        # How each number follows the couplings: d<O>/dg = -cov(O, E).
        self._slopes = -both[len(names) :, : len(names)]
        of_twin = self._covariance / len(means)
        self._unsure = of_twin + self._slopes @ covariance @ self._slopes.T
        scatter, unsure = np.diag(self._covariance).copy(), np.diag(self._unsure).copy()
        # Each chain has tuned its own sampler: by so much their acceptances differ.
        accepted = own["accepted"].mean("measurement").values
        unsure[-1] = of_twin[-1, -1] + 9 * np.var(accepted, ddof=1)
        self._scatter = np.sqrt(scatter)
        numbers = {
            name: Number(
                float(s2 / u), self.settings.change_sigma, most=_MOST_SIGMA + float(np.sqrt(u / s2))
            )
            for name, s2, u in zip(self._names, scatter, unsure, strict=True)
            if s2 > 0  # a heat bath accepts always
        }
        super().__init__(state, numbers, alarm_threshold=self.settings.alarm_threshold)

    @property
    def _names(self) -> list[str]:
        terms = ["plaquette"] if self._at.is_gauge else ["phi2", "phi4"]
        others = {"phi4": ["susceptibility", "structure"], "u1": ["charge_squared"]}
        return [*terms, *others.get(self._at.theory, ["polyakov_squared"]), "accepted"]

    def _histories(self, chains: xr.Dataset) -> dict[str, Series]:
        """Return what is watched, by name, (chain, measurement)."""
        found = derived(chains, self._at)
        return {name: found[name] if name in found else chains[name].values for name in self._names}

    def _means(self, frame: xr.Dataset) -> Series:
        return np.array([each.mean() for each in self._histories(frame).values()])

    def frames(self, stream: Any) -> Iterator[xr.Dataset]:
        """Yield batches of chains, or of a stream of such, in the order in which they were drawn."""
        for chains in [stream] if isinstance(stream, xr.Dataset) else stream:
            n = self.settings.batch
            for first in range(0, chains.sizes["measurement"] - n + 1, n):
                part = chains.isel(measurement=slice(first, first + n))
                for number in range(chains.sizes["chain"]):
                    yield part.isel(chain=[number])

    def read(self, frame: xr.Dataset) -> Evidence[Series]:
        """Return how far the means of a batch are from the twin's."""
        means = self._means(frame)
        sigma = (means - self._normal) / np.where(self._scatter > 0, self._scatter, np.inf)
        told = dict(zip(self._names, map(float, sigma), strict=True))
        return Evidence({name: told[name] for name in self._test.numbers}, means)

    def explain(self, name: str, since: Sequence[Series]) -> tuple[str, Estimate | None]:
        """Return the coupling that explains the change best and by how much it has changed.

        Where the terms of the action have not changed, the number that called is named.
        """
        names = couplings(self._at)
        n = len(names)
        away = (np.mean(since, axis=0) - self._normal)[:n]
        noise = (self._covariance / len(since) + self._unsure)[:n, :n]
        weight = np.linalg.inv(noise)
        if stats.chi2.sf(away @ weight @ away, n) > _UNLIKELY:
            column = self._names.index(name)
            change = np.mean(since, axis=0)[column] - self._normal[column]
            return name, Estimate.of(change, self._scatter[column] / np.sqrt(len(since)))
        found = [self._explained(weight, away, self._slopes[:n, number]) for number in range(n)]
        number = min(range(n), key=lambda each: found[each][0])
        return names[number], found[number][1]

    def _explained(self, weight: Series, away: Series, slope: Series) -> tuple[float, Estimate]:
        """Return the change of one coupling that leaves least, and before it what it leaves, chi^2."""
        information = float(slope @ weight @ slope)
        change = float(slope @ weight @ away) / information
        left = away - slope * change
        return float(left @ weight @ left), Estimate.of(change, information**-0.5)
