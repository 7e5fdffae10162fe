"""What would be if: other strengths, another detector, a channel lost, and how far it would see.

Spectra add up: of the detector's noise, of each coupling as calibrated, and, where it is subtracted, of
what its witness's own noise and a filter from finitely many parts leave. Nothing is drawn at random.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins import twin
from physics_twins.twin import Answer, TwinState
from physics_twins.virgo import couplings, witnesses
from physics_twins.virgo.accounting import BANDS_HZ
from physics_twins.virgo.calibrate import basis_asd, short_response
from physics_twins.virgo.cleaning import Wiener
from physics_twins.virgo.couplings import COUPLINGS, Coupling
from physics_twins.virgo.parameters import VirgoParameters, WitnessOff
from physics_twins.virgo.sensitivity import inspiral_range, noise_asd

Series = NDArray[np.floating]

NUMBERS: Mapping[str, tuple[str, str]] = {
    "range_mpc": ("Mpc", "Range to binary neutron stars as recorded, 12 to 400 Hz"),
    "cleaned_range_mpc": ("Mpc", "The same after the subtraction"),
    "loudest_band": ("1", "Power over the detector's noise in the loudest band after the subtraction"),
}
_HIGHEST_HZ = 400.0
Scenario = Callable[[VirgoParameters], VirgoParameters]


def what_if(
    wiener: Wiener,
    state: TwinState,
    scenarios: Mapping[str, Scenario],
    *,
    start: VirgoParameters,
    seed: int = 0,
) -> xr.Dataset:
    """Return how far a calibrated detector would see with something changed.

    Args:
        wiener: The filters of the calibration, which know how each coupling goes with frequency.
        state: The calibrated state.
        scenarios: What turns the calibrated parameters into others, by the scenario's name: `without`
            and `twin.changed` return such.
        start: What the state does not know.
        seed: For the record: nothing is drawn.

    Returns:
        As `twin.what_if` does.

    Raises:
        ParameterError: A scenario has an unknown parameter or one outside its range.
    """
    return twin.what_if(_Spectra(wiener, state, start), state, scenarios, seed=seed)


def without(channel: WitnessOff) -> Scenario:
    """Return the scenario in which a channel is not recorded any more."""
    return twin.changed(witness_off=channel)


class _Spectra(twin.Asked[VirgoParameters]):
    """The calibrated twin, ready to be asked."""

    numbers = NUMBERS
    lowest = 0.0

    def __init__(self, wiener: Wiener, state: TwinState, start: VirgoParameters) -> None:
        self._wiener, self._start = wiener, start
        grid = wiener.frequency_hz
        used = (grid >= BANDS_HZ[0]) & (grid <= min(_HIGHEST_HZ, 0.45 * wiener.sample_rate_hz))
        self._frequency_hz = grid[used]
        self._shapes = {}
        for coupling in COUPLINGS:
            if coupling.name in state.parameters:
                shape = _shape(wiener, coupling, start.detector)[used]
                self._shapes[coupling.name] = shape / state.parameters[coupling.name].value ** 2

    def parameters(self, known: Mapping[str, float]) -> VirgoParameters:
        names = VirgoParameters.model_fields
        told = {c.name: known.get(c.name, 0.0) for c in COUPLINGS}
        told |= {name: value for name, value in known.items() if name in names}
        return self._start.replace(**told)

    def answers(self, scenario: Scenario, known: Mapping[str, float]) -> Sequence[Answer]:
        value = self._told(scenario(self.parameters(known)))
        return [Answer(value, np.zeros((1, len(value))), np.zeros(len(value)))]

    def _told(self, asked: VirgoParameters) -> NDArray[np.float64]:
        frequency_hz = self._frequency_hz
        noise = noise_asd(frequency_hz, asked.detector) ** 2
        recorded, cleaned = np.ones(len(noise)), np.ones(len(noise))
        for coupling in COUPLINGS:
            if coupling.name in self._shapes:
                power = getattr(asked, coupling.name) ** 2 * self._shapes[coupling.name]
                recorded += power
                lost = asked.witness_off in coupling.channels
                cleaned += power if lost else power * _floor(coupling, frequency_hz)
        bands = [
            float(np.mean(cleaned[(frequency_hz >= low) & (frequency_hz < high)]))
            for low, high in pairwise(BANDS_HZ)
            if ((frequency_hz >= low) & (frequency_hz < high)).any()
        ]
        ranges = [inspiral_range(frequency_hz, noise * power) for power in (recorded, cleaned)]
        return np.array([*ranges, max(bands)])


def _shape(wiener: Wiener, coupling: Coupling, detector: str) -> Series:
    """Return the power of a calibrated coupling over the detector's noise, shape (frequency,)."""
    frequency_hz = wiener.frequency_hz
    response = short_response(wiener, coupling)
    noise = noise_asd(np.maximum(frequency_hz, 0.1), detector)
    if coupling.name in ("mains", "line"):
        return _line_power(coupling, frequency_hz) * response**2 / noise**2
    return (response * basis_asd(wiener, coupling) / noise) ** 2


def _line_power(coupling: Coupling, frequency_hz: Series) -> Series:
    """Return the power spectral density of a witness's lines, each in the bin next to it."""
    channel = witnesses.NAMED[coupling.channels[0]]
    found, step_hz = np.zeros(len(frequency_hz)), frequency_hz[1]
    for number, amplitude in channel.harmonics:
        found[int(np.argmin(np.abs(frequency_hz - number * channel.line_hz)))] = amplitude**2 / step_hz
    return found


def _floor(coupling: Coupling, frequency_hz: Series) -> Series:
    """Return which part of a coupling's power its witness's own noise hides, shape (frequency,)."""
    channel = witnesses.NAMED[coupling.channels[0]]
    linear = coupling.basis in (couplings.same, couplings.misaligned)
    if not linear or channel.line_hz or not channel.floor:  # a bench is known below its own noise
        return np.zeros(len(frequency_hz))
    power = channel.asd(frequency_hz) ** 2
    return channel.floor**2 / (power + channel.floor**2)
