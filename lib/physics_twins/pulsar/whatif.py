"""What would be if: the calibrated twin with something changed, and what that does to its pulses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from physics_twins.pulsar.calibrate import calibrated
from physics_twins.pulsar.evaluate import evaluate
from physics_twins.pulsar.fitting.pulse_limits import ideal_snr
from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.parameters import ObservationParameters, SearchParameters
from physics_twins.pulsar.simulate import simulate
from physics_twins.twin import Estimate, TwinState
from physics_twins.twin.scenarios import AS_CALIBRATED, changed

# Draws of the calibrated parameters from which the error of what they imply is found.
N_DRAWS = 64
# A blind search reaches so far around the scenario's DM.
SEARCH_REACH_PC_CM3 = 8.0

Classifier = Callable[[xr.Dataset], xr.Dataset]
Scenario = Callable[[ObservationParameters], ObservationParameters]


@dataclass(frozen=True)
class WhatIf:
    """Scenarios side by side, that of the calibrated twin first.

    Attributes:
        parameters: What each scenario is, by name.
        observations: A simulated observation of each, with all truth.
        table: `snr_ideal`, analytically, with the ends of the 68 % interval that the calibration
            leaves, `snr_ideal_low` and `snr_ideal_high`; `snr_found` by the classifier, median and
            error; `recall` of whole pulses with its error; `n_false`; and `occupied`, the part of the
            samples in which interference is above the noise (scenario).
    """

    parameters: dict[str, ObservationParameters]
    observations: dict[str, xr.Dataset]
    table: xr.Dataset


def what_if(
    state: TwinState,
    scenarios: Mapping[str, Scenario],
    *,
    receiver: ObservationParameters,
    seed: int,
    classifier: Classifier | None = None,
) -> WhatIf:
    """Return what changed parameters would do to the pulses of a calibrated twin.

    All scenarios see the same pulses in the same noise: what differs is the scenario.

    Args:
        state: The calibrated state.
        scenarios: What turns the calibrated observation into another, by the scenario's name:
            `another_telescope`, `more_interference`, `another_distance`, `changed` return such.
        receiver: What the state does not know: the telescope, the interference, the duration.
        seed: Seed of the simulations.
        classifier: Called with an observation, returns candidates as `infer` does; by default the
            blind search.

    Raises:
        ParameterError: A scenario has an unknown parameter or one outside its range.
    """
    base = calibrated(receiver, state.parameters)
    parameters = {AS_CALIBRATED: base}
    parameters |= {name: scenario(base) for name, scenario in scenarios.items()}
    observations = {name: simulate(each, seed=seed) for name, each in parameters.items()}
    rows = []
    for name, observation in observations.items():
        ideal = _implied_snr(state, receiver, scenarios.get(name, changed()), seed)
        find = classifier or _blind_search(parameters[name])
        rows.append(_row(observation, find(observation), ideal))
    table = xr.Dataset(
        {key: ("scenario", np.array([row[key] for row in rows]), {"units": "1"}) for key in rows[0]},
        coords={"scenario": ("scenario", np.array(list(parameters)))},
        attrs={"seed": seed},
    )
    return WhatIf(parameters, observations, table)


def another_telescope(
    *, system_temperature_k: float, gain_k_per_jy: float, **receiver: Any
) -> Scenario:
    """Return the scenario of another telescope; its band and sampling time may be given too."""
    return changed(system_temperature_k=system_temperature_k, gain_k_per_jy=gain_k_per_jy, **receiver)


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


def _implied_snr(
    state: TwinState, receiver: ObservationParameters, scenario: Scenario, seed: int
) -> Estimate:
    """Return the ideal S/N of a pulse of median fluence, with the error of the calibration."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(N_DRAWS):
        drawn = {
            name: Estimate.of(rng.normal(each.value, each.error), 0.0, each.unit)
            for name, each in state.parameters.items()
        }
        values.append(ideal_snr(scenario(calibrated(receiver, drawn))))
    best = ideal_snr(scenario(calibrated(receiver, state.parameters)))
    low, high = np.quantile(values, [0.16, 0.84])
    return Estimate(value=best, low=float(min(low, best)), high=float(max(high, best)))


def _blind_search(parameters: ObservationParameters) -> Classifier:
    low = max(parameters.dm_pc_cm3 - SEARCH_REACH_PC_CM3, 1.0)
    search = SearchParameters(
        dm_min_pc_cm3=low, dm_max_pc_cm3=parameters.dm_pc_cm3 + SEARCH_REACH_PC_CM3
    )
    return lambda observation: infer(search, observation)


def _row(observation: xr.Dataset, result: xr.Dataset, ideal: Estimate) -> dict[str, float]:
    scores = evaluate(observation, result)
    whole = scores["complete"].values
    snr = scores["snr"].values[whole]
    found = snr[np.isfinite(snr)]
    n, n_found = len(snr), len(found)
    share = (n_found + 2) / (n + 4)  # Agresti and Coull 1998: not zero at the ends
    loud = observation["narrowband"].values + observation["broadband"].values
    return {
        "snr_ideal": ideal.value,
        "snr_ideal_low": ideal.low,
        "snr_ideal_high": ideal.high,
        "snr_found": float(np.median(found)) if n_found else np.nan,
        "snr_found_error": 1.25 * float(found.std(ddof=1) / np.sqrt(n_found))
        if n_found > 1
        else np.nan,
        "recall": n_found / n if n else np.nan,
        "recall_error": float(np.sqrt(share * (1 - share) / (n + 4))),
        "n_false": float(scores["n_false"]),
        "occupied": float((loud > observation.attrs["noise_sigma_jy"]).mean()),
    }
