"""Calibrate the twin: how strongly each disturbance reaches the strain, with errors.

Strengths are those of `VirgoParameters`: a coupling's spectrum over the detector's noise, where it is
largest. They come from the filters that a regression finds, so that what a coupling's channel does not
record, its strength does not know.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins import twin
from physics_twins.data import Estimate, content_sha256
from physics_twins.virgo import accounting, cleaning, couplings, inputs, witnesses
from physics_twins.virgo.cleaning import Wiener
from physics_twins.virgo.couplings import COUPLINGS, Coupling
from physics_twins.virgo.parameters import CleaningParameters, VirgoParameters
from physics_twins.virgo.selection import Selection
from physics_twins.virgo.sensitivity import noise_asd

Series = NDArray[np.floating]

_LINES_HZ = {"mains": witnesses.MAINS_HZ, "line": witnesses.LINE_HZ}
_LOWEST_HZ, _GRID_HZ = 10.0, 0.1


@dataclass(frozen=True)
class Calibration(twin.Calibration):
    """The twin as a stretch says it is; see `twin.Calibration`.

    Its parameters are the strengths of the couplings that were found, and the bench's calibration. The
    residual is the strain's power over the detector's noise band by band, before and after; the score
    says how loud the loudest band stays, `loudest_band`.

    Attributes:
        wiener: The filters.
    """

    wiener: Wiener


def calibrate(
    stretch: xr.Dataset,
    *,
    start: VirgoParameters,
    selection: Selection,
    settings: CleaningParameters | None = None,
) -> Calibration:
    """Fit the twin's couplings to a stretch.

    Args:
        stretch: With `strain` and `witness`.
        start: Whose `detector` the noise is.
        selection: Channels and products, from `selection.select`.
        settings: Of the regression; all of the stretch is used.
    """
    settings = (settings or CleaningParameters()).replace(train_fraction=1.0)
    wiener = cleaning.fit(stretch, settings, channels=selection.channels, products=selection.products)
    parameters = {}
    for coupling in COUPLINGS:
        estimate = strength(wiener, coupling, start.detector)
        if estimate is not None:
            parameters[coupling.name] = estimate
    if wiener.fringe is not None:
        known = wiener.fringe
        parameters["fringe_calibration"] = Estimate.of(known.calibration, known.calibration_error)
    residual = _residual(stretch, wiener, start.detector)
    return Calibration(
        twin="virgo",
        parameters=parameters,
        correlation=twin.correlated([], np.zeros((0, 0))),
        residual=residual,
        score={"loudest_band": float(residual["after"].max())},
        valid_range=_ranges(),
        model=f"{len(wiener.used)} filters",
        wiener=wiener,
    )


def identity(stretch: xr.Dataset) -> str:
    """Return what tells a stretch from others: its time, and the SHA-256 of strain and channels."""
    start_s = float(stretch.attrs["gps_start_s"])
    return f"GPS {start_s:.0f} sha256:{content_sha256(stretch[['strain', 'witness']])}"


def strength(wiener: Wiener, coupling: Coupling, detector: str) -> Estimate | None:
    """Return how strong a coupling is, None where no filter belongs to it, or none at its line.

    Args:
        wiener: From `cleaning.fit`.
        coupling: Which.
        detector: Whose noise is the unit.
    """
    numbers = [n for n in wiener.used if wiener.inputs[n] in _inputs_of(coupling)]
    if not numbers:
        return None
    frequency_hz = wiener.frequency_hz
    noise = noise_asd(np.maximum(frequency_hz, 0.1), detector)
    if coupling.name in _LINES_HZ:
        at = int(np.argmin(np.abs(frequency_hz - _LINES_HZ[coupling.name])))
        if not wiener.taken[numbers, at].any():  # others have the line too, and explain it
            return None
        error = short_error(wiener, coupling)[at] / noise[at]
        return Estimate.of(float(short_response(wiener, coupling)[at] / noise[at]), float(error))
    unit = basis_asd(wiener, coupling) / noise
    over = unit * short_response(wiener, coupling)
    if coupling.name == "sidebands":
        at = int(np.argmin(np.abs(frequency_hz - witnesses.MAINS_HZ - 1)))
    else:
        used = (frequency_hz >= _LOWEST_HZ) & (frequency_hz < 0.45 * wiener.sample_rate_hz)
        at = int(np.argmax(np.where(used, over, 0)))
    return Estimate.of(float(over[at]), float(unit[at] * short_error(wiener, coupling)[at]))


def short_response(wiener: Wiener, coupling: Coupling) -> Series:
    """Return the modulus of a coupling's transfer function, shape (frequency,).

    Args:
        wiener: From `cleaning.fit`, with a filter that belongs to it.
        coupling: Which.
    """
    response = wiener.solved if coupling.name in _LINES_HZ else wiener.response
    return np.abs(sum(share * response[n] for n, share in shares(wiener, coupling)))


def short_error(wiener: Wiener, coupling: Coupling) -> Series:
    """Return the standard deviation of `short_response`."""
    error = wiener.solved_error if coupling.name in _LINES_HZ else wiener.response_error
    parts = [share * error[n] for n, share in shares(wiener, coupling)]
    variance = np.sum(np.square(parts), axis=0) / 2  # a modulus has one part of a complex error
    if coupling.basis is couplings.product:  # its power at the line leaks into the bins beside it
        leaks = [np.gradient(wiener.response[n]) for n, _ in shares(wiener, coupling)]
        variance += np.abs(np.sum(leaks, axis=0)) ** 2
    return np.sqrt(variance)


def shares(wiener: Wiener, coupling: Coupling) -> list[tuple[int, float]]:
    """Return the inputs of a coupling by their number, and what their filters are multiplied with.

    A product is one of channels about their means: with the mean angle, the product of mains and angle
    would be mains. So what a channel does where the others that it is multiplied with are at their zero
    is its filter less their means times the products'.
    """
    numbers = [n for n in wiener.used if wiener.inputs[n] in _inputs_of(coupling)][:1]
    name = wiener.inputs[numbers[0]] if numbers else ""
    products = [(n, wiener.inputs[n].split("*")) for n in wiener.used if "*" in wiener.inputs[n]]
    others = [(n, pair, pair[1 - pair.index(name)]) for n, pair in products if name in pair]
    more = [(n, -pair.count(name) * wiener.means[other]) for n, pair, other in others]
    return [(n, 1.0) for n in numbers] + more


def _inputs_of(coupling: Coupling) -> set[str]:
    """Return the names of the inputs whose filter is the coupling's."""
    a, b = coupling.channels[0], coupling.channels[-1]
    if coupling.name == "sidebands":
        return {f"{a}*{b}", f"{b}*{a}"}
    if coupling.name == "unknown":
        return {f"{a}*{a}"}
    if coupling.basis is couplings.fringe:
        return {f"fringe {a}"}
    return {a}


def basis_asd(wiener: Wiener, coupling: Coupling, *, grid_hz: float = _GRID_HZ) -> Series:
    """Return the amplitude spectral density of what a coupling filters, shape (frequency,).

    Args:
        wiener: Whose frequencies, and calibration of the bench.
        coupling: Which.
        grid_hz: How fine the bench's motion, which is slow, is looked at. The default is that of the
            parameters' strengths.
    """
    calibration = wiener.calibration if np.isfinite(wiener.calibration) else 1.0
    grid = np.arange(0, wiener.frequency_hz[-1] + grid_hz, grid_hz)
    return np.interp(wiener.frequency_hz, grid, couplings.basis_asd(coupling, grid, calibration))


def _residual(stretch: xr.Dataset, wiener: Wiener, detector: str) -> xr.Dataset:
    rate_hz = inputs.sample_rate(stretch)
    strain = stretch["strain"].values.astype(float)
    left = strain - cleaning.subtract(wiener, stretch)
    before, after = (
        np.median(accounting.band_power(each, rate_hz, detector), axis=0) for each in (strain, left)
    )
    edges = np.array(accounting.BANDS_HZ, dtype=float)[: len(before) + 1]
    unit = {"units": "1"}
    return xr.Dataset(
        {"before": ("band", before, unit), "after": ("band", after, unit)},
        {"low": ("band", edges[:-1], {"units": "Hz"}), "high": ("band", edges[1:], {"units": "Hz"})},
    )


def _ranges() -> dict[str, tuple[float, float]]:
    """Return what the parameters allow."""
    known = VirgoParameters.describe()
    names = [*(c.name for c in COUPLINGS), "fringe_calibration"]
    return {n: (float(known[n].minimum or 0), float(known[n].maximum or np.inf)) for n in names}
