"""What would be if: the calibrated twin with something changed, and what that does to its pulses."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins import twin
from physics_twins.data import Estimate, fraction
from physics_twins.pulsar.calibrate import calibrated
from physics_twins.pulsar.evaluate import evaluate
from physics_twins.pulsar.fitting.pulse_limits import ideal_snr
from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.parameters import ObservationParameters, SearchParameters
from physics_twins.pulsar.simulate import simulate
from physics_twins.twin import Answer, TwinState
from physics_twins.twin import changed as changed

# A blind search reaches so far around the scenario's DM.
SEARCH_REACH_PC_CM3 = 8.0
NUMBERS: Mapping[str, tuple[str, str]] = {
    "snr_ideal": ("1", "S/N of a matched filter for a pulse of median fluence"),
    "snr_found": ("1", "Median S/N of the pulses found"),
    "recall": ("1", "Part of the whole pulses that is found"),
    "n_false": ("1", "Candidates that are no pulse"),
    "occupied": ("1", "Part of the samples in which interference is above the noise"),
}

Classifier = Callable[[xr.Dataset], xr.Dataset]
Scenario = Callable[[ObservationParameters], ObservationParameters]


def what_if(
    state: TwinState,
    scenarios: Mapping[str, Scenario],
    *,
    receiver: ObservationParameters,
    seed: int,
    classifier: Classifier | None = None,
) -> xr.Dataset:
    """Return what changed parameters would do to the pulses of a calibrated twin.

    All scenarios see the same pulses in the same noise: what differs is the scenario. How the
    calibration's errors reach a number is known for `snr_ideal` alone, which is analytic.

    Args:
        state: The calibrated state.
        scenarios: What turns the calibrated observation into another, by the scenario's name:
            `more_interference`, `another_distance`, `changed` return such.
        receiver: What the state does not know: the telescope, the interference, the duration.
        seed: Seed of the simulations.
        classifier: Called with an observation, returns candidates as `infer` does; by default the
            blind search.

    Returns:
        As `twin.what_if` does.

    Raises:
        ParameterError: A scenario has an unknown parameter or one outside its range.
    """
    return twin.what_if(_Pulses(receiver, classifier, seed), state, scenarios, seed=seed)


def more_interference(factor: float) -> Scenario:
    """Return the scenario in which all interference comes so many times as often.

    Raises:
        ValueError: The factor is negative.
    """
    if not factor >= 0:
        raise ValueError(f"factor = {factor:g} must be 0 or more")

    def scenario(observation: ObservationParameters) -> ObservationParameters:
        fields = observation.describe()
        rates = {n: factor * getattr(observation, n) for n in fields if n.endswith("_rate_hz")}
        return observation.replace(**{n: min(r, fields[n].maximum or r) for n, r in rates.items()})

    return scenario


def another_distance(factor: float) -> Scenario:
    """Return the scenario of a pulsar that is so many times as far, in an even medium.

    The fluence falls with the square of the distance, the DM grows with it, and the scattering time
    follows the DM as in Bhat et al. 2004, ApJ 605, 759, equation 7.

    Raises:
        ValueError: The factor is not positive.
    """
    if not factor > 0:
        raise ValueError(f"factor = {factor:g} must be positive")

    def scenario(observation: ObservationParameters) -> ObservationParameters:
        dm = max(observation.dm_pc_cm3, 1e-3)
        return observation.replace(
            fluence_jy_ms=observation.fluence_jy_ms / factor**2,
            dm_pc_cm3=observation.dm_pc_cm3 * factor,
            scattering_ms=observation.scattering_ms * 10 ** (_bhat(factor * dm) - _bhat(dm)),
        )

    return scenario


def _bhat(dm_pc_cm3: float) -> float:
    """Return the logarithm of the typical scattering time, but for a constant."""
    x = float(np.log10(dm_pc_cm3))
    return 0.154 * x + 1.07 * x**2


class _Pulses(twin.Asked[ObservationParameters]):
    """The calibrated twin, ready to be asked."""

    numbers = NUMBERS
    lowest = 0.0

    def __init__(
        self, receiver: ObservationParameters, classifier: Classifier | None, seed: int
    ) -> None:
        self._receiver, self._classifier, self._seed = receiver, classifier, seed
        self._observations: dict[ObservationParameters, xr.Dataset] = {}

    def parameters(self, known: Mapping[str, float]) -> ObservationParameters:
        return calibrated(self._receiver, {n: Estimate.of(value) for n, value in known.items()})

    def observation(self, asked: ObservationParameters) -> xr.Dataset:
        """Return the simulated observation of a scenario; made once."""
        if asked not in self._observations:
            self._observations[asked] = simulate(asked, seed=self._seed)
        return self._observations[asked]

    def answers(self, scenario: Scenario, known: Mapping[str, float]) -> Sequence[Answer]:
        asked = scenario(self.parameters(known))
        observation = self.observation(asked)
        find = self._classifier or _blind_search(asked)
        return [_answer(observation, find(observation), ideal_snr(asked))]

    def expected(self, scenario: Scenario, known: Mapping[str, float]) -> NDArray[np.float64]:
        told = np.full(len(NUMBERS), np.nan)
        told[0] = ideal_snr(scenario(self.parameters(known)))
        return told


def _blind_search(parameters: ObservationParameters) -> Classifier:
    low = max(parameters.dm_pc_cm3 - SEARCH_REACH_PC_CM3, 1.0)
    search = SearchParameters(
        dm_min_pc_cm3=low, dm_max_pc_cm3=parameters.dm_pc_cm3 + SEARCH_REACH_PC_CM3
    )
    return lambda observation: infer(search, observation)


def _answer(observation: xr.Dataset, result: xr.Dataset, snr_ideal: float) -> Answer:
    scores = evaluate(observation, result)
    whole, snr = scores["complete"].values, scores["snr"].values
    found = whole & np.isfinite(snr)
    n_pulses, n_whole = len(whole), int(whole.sum())
    median, of_median = _median(snr, found)
    recall = found.sum() / n_whole if n_whole else np.nan
    of_recall = np.where(whole, found - np.nan_to_num(recall), 0.0) * n_pulses / max(n_whole, 1)
    loud = observation["narrowband"].values + observation["broadband"].values
    n_false = float(scores["n_false"])
    occupied = float((loud > observation.attrs["noise_sigma_jy"]).mean())
    nothing = np.zeros(n_pulses)
    return Answer(
        np.array([snr_ideal, median, recall, n_false, occupied]),
        np.stack([nothing, of_median, of_recall, nothing, nothing], axis=1),
        np.array([0.0, 0.0, fraction(0, n_whole)[1], np.sqrt(n_false), 0.0]),
    )


def _median(snr: NDArray[np.float64], found: NDArray[np.bool_]) -> tuple[float, NDArray[np.float64]]:
    """Return the median of those found, and each pulse's influence on it, as in a Gaussian."""
    n, known = len(snr), snr[found]
    if len(known) < 2:
        return (float(known[0]) if len(known) else np.nan), np.full(n, np.nan)
    median = float(np.median(known))
    height = known.std(ddof=1) * np.sqrt(np.pi / 2)
    return median, np.where(found, np.sign(snr - median), 0.0) * height * n / len(known)
