"""What would be if: other strengths, another detector, a channel lost, and how far it would see.

Spectra add up: of the detector's noise, of each coupling as calibrated, and, where it is subtracted, of
what its witness's own noise leaves. What is not known of filters, bin by bin, is drawn at random.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from physics_twins import twin
from physics_twins.twin import Answer, TwinState
from physics_twins.virgo import couplings, witnesses
from physics_twins.virgo.accounting import BANDS_HZ
from physics_twins.virgo.calibrate import basis_asd, shares, short_response
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
_N_DRAWN = 32  # filters within their errors
_ALIKE_HZ = 10.0  # over which the errors of a continuation are
_GRID_HZ = 0.01  # bench and angle move slowly
_LEAST = 0.1  # power over the detector's noise
_TINY = 1e-300
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
        seed: Of the filters that are drawn within their errors.

    Returns:
        As `twin.what_if` does.

    Raises:
        ParameterError: A scenario has an unknown parameter or one outside its range.
    """
    return twin.what_if(_Spectra(wiener, state, start, seed), state, scenarios, seed=seed)


def without(channel: WitnessOff) -> Scenario:
    """Return the scenario in which a channel is not recorded any more."""
    return twin.changed(witness_off=channel)


class _Spectra(twin.Asked[VirgoParameters]):
    """The calibrated twin, ready to be asked."""

    numbers = NUMBERS
    lowest = 0.0

    def __init__(self, wiener: Wiener, state: TwinState, start: VirgoParameters, seed: int) -> None:
        self._wiener, self._start = wiener, start
        grid = wiener.frequency_hz
        used = (grid >= BANDS_HZ[0]) & (grid <= min(_HIGHEST_HZ, 0.45 * wiener.sample_rate_hz))
        self._frequency_hz, rng = grid[used], np.random.default_rng(seed)
        self._shapes: dict[str, Series] = {}  # (member, frequency)
        for coupling in COUPLINGS:
            if coupling.name in state.parameters:
                shape = _shape(wiener, coupling, start.detector, rng)[:, used]
                self._shapes[coupling.name] = shape / state.parameters[coupling.name].value ** 2

    def parameters(self, known: Mapping[str, float]) -> VirgoParameters:
        names = VirgoParameters.model_fields
        told = {c.name: known.get(c.name, 0.0) for c in COUPLINGS}
        told |= {name: value for name, value in known.items() if name in names}
        return self._start.replace(**told)

    def answers(self, scenario: Scenario, known: Mapping[str, float]) -> Sequence[Answer]:
        told = [self._told(scenario(self.parameters(known)), n) for n in range(_N_DRAWN)]
        return [Answer(value, np.zeros((1, len(value))), np.zeros(len(value))) for value in told]

    def expected(self, scenario: Scenario, known: Mapping[str, float]) -> NDArray[np.float64]:
        return self._told(scenario(self.parameters(known)), slice(None))

    def _told(self, asked: VirgoParameters, member: int | slice) -> NDArray[np.float64]:
        """Return the numbers with one of the drawn filters, or with the mean of their powers."""
        frequency_hz = self._frequency_hz
        noise = noise_asd(frequency_hz, asked.detector) ** 2
        recorded, cleaned = np.ones(len(noise)), np.ones(len(noise))
        for coupling in COUPLINGS:
            if coupling.name in self._shapes:
                shape = np.atleast_2d(self._shapes[coupling.name][member]).mean(axis=0)
                power = getattr(asked, coupling.name) ** 2 * shape
                recorded += power
                lost = asked.witness_off in coupling.channels
                cleaned += power if lost else power * _floor(coupling, frequency_hz)
        bands = [
            float(np.mean(cleaned[(frequency_hz >= low) & (frequency_hz < high)]))
            for low, high in pairwise(BANDS_HZ)
            if ((frequency_hz >= low) & (frequency_hz < high)).any()
        ]
        both = (np.maximum(each, _LEAST) for each in (recorded, cleaned))
        ranges = [inspiral_range(frequency_hz, noise * power) for power in both]
        return np.array([*ranges, max(bands)])


def _shape(
    wiener: Wiener, coupling: Coupling, detector: str, rng: np.random.Generator
) -> NDArray[np.floating]:
    """Return powers of a calibrated coupling over the detector's noise, shape (member, frequency)."""
    frequency_hz = wiener.frequency_hz
    noise = noise_asd(np.maximum(frequency_hz, 0.1), detector)
    if coupling.name in ("mains", "line"):
        power = _line_power(coupling, frequency_hz) * short_response(wiener, coupling) ** 2
        return np.tile(power / noise**2, (_N_DRAWN, 1))
    unit = basis_asd(wiener, coupling, grid_hz=_GRID_HZ) / noise
    if coupling.basis is couplings.misaligned:
        unit = unit * np.sqrt(1 + _motion_urad() ** 2 / couplings.MISALIGNMENT_URAD**2)
    return _drawn_power(wiener, coupling, rng) * unit**2


def _drawn_power(wiener: Wiener, coupling: Coupling, rng: np.random.Generator) -> Series:
    """Return the squared modulus of a transfer function within its errors, shape (member, frequency).

    Where no coupling was found, its smooth continuation is a guess; each bin's least squares tell
    there how large it can be. Both are weighed by their errors. What these errors add to the power
    of least squares, once as measured and once as drawn, is taken off, so that bins of noise sum up
    to nothing.
    """
    frequency_hz, numbers = wiener.frequency_hz, shares(wiener, coupling)
    value, weight = np.zeros((2, len(frequency_hz)), complex), np.zeros((2, len(frequency_hz)))
    kinds = (wiener.response, wiener.response_error), (wiener.heard, wiener.heard_error)
    for i, (response, error) in enumerate(kinds):
        value[i] = np.sum([share * response[n] for n, share in numbers], axis=0)
        variance = np.sum([(share * error[n]) ** 2 for n, share in numbers], axis=0)
        weight[i] = np.divide(1, variance, where=variance > 0, out=np.zeros(len(variance)))
    total = np.maximum(weight.sum(axis=0), _TINY)
    mean, variance = (weight * value).sum(axis=0) / total, 1 / total
    told = weight[1] / total  # by least squares, whose errors are not alike
    normal = rng.standard_normal((4, _N_DRAWN, len(mean)))
    alike = ndimage.gaussian_filter1d(normal[:2], _ALIKE_HZ / frequency_hz[1], axis=-1)
    unit = np.sqrt(told) * normal[2:] + np.sqrt(1 - told) * alike / alike.std()
    drawn = mean + np.sqrt(variance / 2) * (unit[0] + 1j * unit[1])
    return np.abs(drawn) ** 2 - 2 * variance * told


def _motion_urad() -> float:
    """Return the root mean square of the angle."""
    frequency_hz = np.arange(0, 100, _GRID_HZ)
    return float(np.sqrt(np.sum(couplings.angle_asd(frequency_hz) ** 2) * _GRID_HZ))


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
