"""The limit of subtraction: the true couplings, on what was really recorded."""

from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.virgo import couplings, inputs, witnesses
from physics_twins.virgo.couplings import COUPLINGS, Coupling

Series = NDArray[np.floating]


def oracle(stretch: xr.Dataset) -> Series:
    """Return what an oracle subtracts from a simulated stretch, shape (time,).

    It knows every filter, gain, calibration and delay, and weighs each witness by the part of its power
    that is not its sensor's. What was not recorded it cannot subtract.

    Args:
        stretch: From `simulate`.
    """
    recorded = {str(n): _on_time(stretch, str(n)) for n in stretch["channel"].values}
    recorded[witnesses.BENCH.name] = _weighed(
        recorded[witnesses.BENCH.name], witnesses.BENCH, float(stretch.attrs["sample_rate_hz"])
    )
    total = np.zeros(stretch.sizes["time"])
    for coupling in COUPLINGS:
        truth = stretch.sel(coupling=coupling.name)
        taps = truth["response"].values
        if coupling.basis is couplings.same and taps.any():
            taps = taps_in_noise(coupling, taps, float(stretch.attrs["sample_rate_hz"]))
        fringe = {n: float(stretch.attrs[f"fringe_{n}"]) for n in ("calibration", "phase")}
        options = fringe if coupling.name == "fringe" else {}
        total += truth["gain"].values * couplings.strain_of(coupling, recorded, taps, **options)
    return total


def taps_in_noise(coupling: Coupling, taps: Series, sample_rate_hz: float) -> Series:
    """Return the best filter where the witness has noise of its own: Wiener's, for a known coupling.

    Args:
        coupling: A linear one.
        taps: Its true filter, centred.
        sample_rate_hz: Of it.
    """
    channel = witnesses.NAMED[coupling.channels[0]]
    if channel.line_hz or not channel.floor:
        return taps
    frequency_hz = np.fft.rfftfreq(len(taps), 1 / sample_rate_hz)
    power = couplings.basis_asd(coupling, frequency_hz) ** 2
    middle = len(taps) // 2
    spectrum = np.fft.rfft(np.roll(taps, -middle)) * power / (power + channel.floor**2)
    return np.roll(np.fft.irfft(spectrum, len(taps)), middle)


def _weighed(record: Series, channel: witnesses.Channel, sample_rate_hz: float) -> Series:
    """Return the best estimate of what moves, from a record that holds the sensor's noise too."""
    frequency_hz = np.fft.rfftfreq(len(record), 1 / sample_rate_hz)
    power = channel.asd(frequency_hz) ** 2
    return np.fft.irfft(np.fft.rfft(record) * power / (power + channel.floor**2), len(record))


def _on_time(stretch: xr.Dataset, name: str) -> Series:
    """Return a channel's record with its delay undone, faded out where it is missing."""
    record = stretch["witness"].sel(channel=name).values.astype(float)
    rate_hz = float(stretch.attrs["sample_rate_hz"])
    for kind, channel, start_s, stop_s in _faults(stretch):
        first, last = round(start_s * rate_hz), round(stop_s * rate_hz)
        if channel == name and kind == "late":
            late = round(1e-3 * stretch.attrs["delay_jump_ms"] * rate_hz)
            record[first - late : -late] = record[first:].copy()
        elif channel == name and kind.startswith("missing"):
            here = np.ones(len(record), bool)
            here[first:last] = False
            mean = record[here].mean()
            record = inputs.filled(np.where(here, record - mean, 0), here, rate_hz) + mean
    return record


def _faults(stretch: xr.Dataset) -> Iterator[tuple[str, str, float, float]]:
    columns = [stretch[f"fault_{n}"].values for n in ("kind", "channel", "start", "stop")]
    return (
        (str(kind), str(channel), float(a), float(b))
        for kind, channel, a, b in zip(*columns, strict=True)
    )
