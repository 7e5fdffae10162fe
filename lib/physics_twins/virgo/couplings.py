"""How disturbances reach the strain: a basis made of witnesses, and a filter behind it.

Each coupling makes one series from what its channels record, its *basis*, and filters it. The basis is
the channel itself, a product of two, a square, or the fringe that scattered light makes. The same
functions make the truth from what really moved and, from what was recorded, what an oracle subtracts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal
from scipy.signal import windows

from physics_twins.virgo import noise, witnesses
from physics_twins.virgo.parameters import VirgoParameters
from physics_twins.virgo.sensitivity import noise_asd

Series = NDArray[np.floating]

RESPONSE_S = 1.0  # length of every filter
_GRID_HZ = 0.1  # of the spectra with which strengths are set


@dataclass(frozen=True)
class Coupling:
    """One way from channels to the strain.

    Attributes:
        name: Of the part of the strain that it makes, and of the parameter with its strength.
        channels: Names of the channels whose sources it is made of.
        band_hz: Where its filter passes.
        basis: What is filtered, of the channels' series in their order.
        drifts: Whether it changes slowly with the temperature.
    """

    name: str
    channels: tuple[str, ...]
    band_hz: tuple[float, float]
    basis: Callable[..., Series]
    drifts: bool = False


def same(series: Series) -> Series:
    """Return the series itself: a linear coupling."""
    return series


def product(first: Series, second: Series) -> Series:
    """Return the product: a slow factor puts sidebands beside a line."""
    return first * second


def misaligned(beam: Series, angle: Series) -> Series:
    """Return beam jitter times the misalignment, a steady one and the angular motion's, of 1 urad."""
    return beam * (1 + angle / MISALIGNMENT_URAD)


def square(series: Series) -> Series:
    """Return the square; the filter takes its mean away."""
    return series**2


def fringe(position_um: Series, calibration: float = 1.0, phase: float = 0.0) -> Series:
    """Return the fringe that light makes which a moving bench scatters back.

    Args:
        position_um: Of the bench along the beam, as recorded.
        calibration: True over recorded motion.
        phase: Of the fringe at rest.
    """
    return np.sin(4 * np.pi / witnesses.LASER_WAVELENGTH_UM * calibration * position_um + phase)


MISALIGNMENT_URAD = 0.02  # the steady one that beam jitter meets; the motion is about half of it

COUPLINGS = (
    Coupling("seismic", (witnesses.GROUND.name,), (10, 35), same, drifts=True),
    Coupling("angular", (witnesses.ANGLE.name,), (14, 60), same, drifts=True),
    Coupling("length", (witnesses.LENGTH.name,), (20, 150), same, drifts=True),
    Coupling("magnetic", (witnesses.MAGNET.name,), (40, 300), same, drifts=True),
    Coupling("mains", (witnesses.MAINS.name,), (40, 170), same),
    Coupling("line", (witnesses.LINE.name,), (30, 44), same),
    Coupling("sidebands", (witnesses.MAINS.name, witnesses.ANGLE.name), (40, 60), product),
    Coupling("jitter", (witnesses.BEAM.name, witnesses.ANGLE.name), (100, 400), misaligned),
    Coupling("fringe", (witnesses.BENCH.name,), (10, 100), fringe),
    Coupling("unknown", (witnesses.SOUND.name,), (60, 250), square),
)


def response(coupling: Coupling, parameters: VirgoParameters, *, seed: int) -> Series:
    """Return the filter of a coupling, as the seed draws it.

    The band, two resonances in it, delay and sign are drawn; the strength is the parameter's.

    Args:
        coupling: Which.
        parameters: The strengths and the detector.
        seed: Of the stretch.

    Returns:
        Shape (lag,), `RESPONSE_S` long and centred at lag 0, in strain for the basis' unit.
    """
    rng = noise.generator(seed, f"coupling {coupling.name}")
    taps = drawn_taps(coupling.band_hz, parameters.sample_rate_hz, rng)
    return taps * _scale(coupling, taps, parameters)


def drawn_taps(band_hz: tuple[float, float], sample_rate_hz: float, rng: np.random.Generator) -> Series:
    """Return a filter of a drawn coupling, as `response` does, of no particular strength.

    Args:
        band_hz: Where it passes, within a twentieth.
        sample_rate_hz: Of the filter.
        rng: Random numbers.
    """
    n_taps = int(RESPONSE_S * sample_rate_hz)
    frequency_hz = np.fft.rfftfreq(n_taps, 1 / sample_rate_hz)
    low_hz, high_hz = np.array(band_hz) * rng.uniform(0.95, 1.05, 2)
    passes = 1 / (1 + (low_hz / np.maximum(frequency_hz, 0.1)) ** 16)
    passes = passes / (1 + (frequency_hz / high_hz) ** 8)
    shape = np.ones(len(frequency_hz), complex)
    for f_hz, quality in zip(rng.uniform(low_hz, high_hz, 2), rng.uniform(4, 8, 2), strict=True):
        shape += 1 / (1 - (frequency_hz / f_hz) ** 2 + 1j * frequency_hz / f_hz / quality) / quality
    delay_s, turn = rng.uniform(-0.01, 0.01), rng.uniform(0, 2 * np.pi)
    shape *= passes * np.exp(-1j * (2 * np.pi * frequency_hz * delay_s + turn))
    return np.roll(np.fft.irfft(shape, n_taps), n_taps // 2) * windows.tukey(n_taps, 0.5)


def _scale(coupling: Coupling, taps: Series, parameters: VirgoParameters) -> float:
    """Return by what a filter is multiplied to have the strength that the parameters ask for."""
    rate_hz, strength = parameters.sample_rate_hz, getattr(parameters, coupling.name)
    n_grid = round(rate_hz / _GRID_HZ)
    frequency_hz = np.fft.rfftfreq(n_grid, 1 / rate_hz)
    gain = np.abs(np.fft.rfft(taps, n_grid))
    if coupling.name in ("mains", "line"):
        at_hz = witnesses.MAINS_HZ if coupling.name == "mains" else witnesses.LINE_HZ
        at_grid = gain[round(at_hz / _GRID_HZ)]
        return float(strength * noise_asd(at_hz, parameters.detector) / at_grid)
    over_noise = gain * basis_asd(coupling, frequency_hz, parameters.fringe_calibration)
    over_noise /= noise_asd(np.maximum(frequency_hz, _GRID_HZ), parameters.detector)
    if coupling.name == "sidebands":
        at_hz = witnesses.MAINS_HZ + 1
        return float(strength / np.interp(at_hz, frequency_hz, over_noise))
    inside = (frequency_hz >= 10) & (frequency_hz < 0.45 * rate_hz)
    return float(strength / over_noise[inside].max())


def basis_asd(coupling: Coupling, frequency_hz: Series, calibration: float = 1.0) -> Series:
    """Return the amplitude spectral density of what a coupling filters, in its unit/sqrt(Hz).

    Lines are left out. The fringe's is that of a random phase that goes through many turns: Gaussian,
    as wide as the bench is fast.

    Args:
        coupling: Which.
        frequency_hz: Evenly spaced from 0, shape (frequency,).
        calibration: True over recorded motion of the bench.
    """
    step_hz = frequency_hz[1] - frequency_hz[0]
    if coupling.name == "sidebands":
        return angle_asd(np.abs(frequency_hz - witnesses.MAINS_HZ)) / np.sqrt(2)
    if coupling.name == "fringe":
        speed = 2 * np.pi * frequency_hz * witnesses.BENCH.asd(frequency_hz)  # um/s/sqrt(Hz)
        width_hz = 2 * calibration / witnesses.LASER_WAVELENGTH_UM * np.sqrt(np.sum(speed**2) * step_hz)
        gauss = np.exp(-0.5 * (frequency_hz / width_hz) ** 2) / (np.sqrt(2 * np.pi) * width_hz)
        return np.sqrt(gauss)
    if coupling.name == "unknown":
        one_side = witnesses.SOUND.asd(frequency_hz) ** 2 / 2
        both_sides = np.concatenate([one_side[:0:-1], one_side])
        twice = signal.fftconvolve(both_sides, both_sides, mode="same")[len(one_side) - 1 :]
        return 2 * np.sqrt(twice.clip(0) * step_hz)  # a square has 2 (S * S), on one side twice that
    if coupling.name == "angular":
        return angle_asd(frequency_hz)
    return witnesses.NAMED[coupling.channels[0]].asd(frequency_hz)


def angle_asd(frequency_hz: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the spectral density of the angular motion, with the ground's part, in urad/sqrt(Hz)."""
    ground = witnesses.GROUND_TO_ANGLE * witnesses.GROUND.asd(frequency_hz)
    return np.hypot(witnesses.ANGLE.asd(frequency_hz), ground)


def gain(
    coupling: Coupling,
    parameters: VirgoParameters,
    time_s: Series,
    temperature: Series,
    fault_s: Mapping[str, float],
) -> Series:
    """Return by what a coupling's part is multiplied as time passes, shape (time,).

    Args:
        coupling: Which.
        parameters: Drift, sign flip and the line that stops.
        time_s: Since the start of the stretch.
        temperature: Its course, of mean 0 and root mean square 1, shape (time,).
        fault_s: When `sign_flip` and `line_stops` come.
    """
    course = np.ones(len(time_s))
    if coupling.drifts:
        course = course + parameters.coupling_drift * temperature
    if coupling.name == "length" and parameters.sign_flip:
        course = course * np.where(time_s < fault_s["sign_flip"], 1, -1)
    if coupling.name == "line" and parameters.line_stops:
        course = course * (time_s < fault_s["line_stops"])
    return course


def strain_of(
    coupling: Coupling, series: Mapping[str, Series], taps: Series, **options: float
) -> Series:
    """Return a coupling's part of the strain, shape (time,).

    Half a filter's length at both ends is not to be used.

    Args:
        coupling: Which.
        series: What its channels watch, or record, by name.
        taps: Its filter, centred.
        options: Of the basis: `calibration` and `phase` of the fringe.
    """
    basis = coupling.basis(*(series[name] for name in coupling.channels), **options)
    return filtered(basis, taps)


def filtered(series: Series, taps: Series) -> Series:
    """Return a series behind a filter whose middle is lag 0; beyond the ends it is 0."""
    first = len(taps) // 2
    return signal.oaconvolve(series, taps)[first : first + len(series)]
