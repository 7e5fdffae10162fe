"""What a subtraction does to signals: injections before and after, told apart from the noise's change.

Given its filters, a subtraction is linear. Where it learns from the strain it is not, so that a signal
may change what is subtracted. How much of a signal is lost is therefore the difference of what is
subtracted with and without it, which only one who knows both can tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.virgo import glitches, noise, signals
from physics_twins.virgo.sensitivity import noise_asd

Series = NDArray[np.floating]

MASSES_MSUN, SNRS = (1.2, 40.0), (8.0, 30.0)  # drawn evenly in the logarithm
LONGEST_S, EVERY_S = 6.0, 8.0
_LOWEST_HZ = 12.0


@dataclass(frozen=True)
class Injection:
    """A signal that is put into a stretch.

    Attributes:
        first: Its first sample.
        strain: Shape (time,).
        snr: Of a matched filter in the detector's noise.
        masses_msun: In the detector's frame.
    """

    first: int
    strain: Series
    snr: float
    masses_msun: tuple[float, float]


def injections(stretch: xr.Dataset, *, from_s: float, seed: int) -> list[Injection]:
    """Return signals of compact binaries, one every `EVERY_S`, that do not overlap.

    Args:
        stretch: Into which they go.
        from_s: Where the first begins.
        seed: Of masses, S/N and times.
    """
    rng = noise.generator(seed, "injections")
    detector, rate_hz = str(stretch.attrs["detector"]), float(stretch.attrs["sample_rate_hz"])
    found = []
    for start_s in np.arange(from_s, float(stretch.attrs["duration_s"]) - EVERY_S - 2, EVERY_S):
        masses = np.exp(rng.uniform(np.log(MASSES_MSUN[0]), np.log(MASSES_MSUN[1]), 2))
        snr = float(np.exp(rng.uniform(np.log(SNRS[0]), np.log(SNRS[1]))))
        shape = signals.waveform(masses[0], masses[1], detector, rate_hz, longest_s=LONGEST_S)
        shape = shape[: len(shape) // 2 + round(0.5 * rate_hz)]  # nothing comes after it
        shape = shape[-round((EVERY_S - 0.5) * rate_hz) :]
        shape = shape * snr / glitches.optimal_snr(shape, detector, rate_hz)
        first = round((start_s + rng.uniform(0, 0.4)) * rate_hz)
        found.append(Injection(first, shape, snr, (float(masses[0]), float(masses[1]))))
    return found


def losses(
    stretch: xr.Dataset, wanted: Sequence[Injection], subtract: Callable[[xr.Dataset], Series]
) -> xr.Dataset:
    """Return what signals lose when the strain is cleaned.

    Args:
        stretch: Without them.
        wanted: The signals.
        subtract: What is subtracted from a stretch, shape (time,).

    Returns:
        For each (injection): `snr`, `snr_change`, of the signal behind its matched filter in the
        detector's noise, as part of it and without the noise; `match` of what is left with itself.
    """
    added = np.zeros(stretch.sizes["time"])
    for each in wanted:
        added[each.first : each.first + len(each.strain)] += each.strain
    taken = subtract(stretch.assign(strain=stretch["strain"] + added)) - subtract(stretch)
    detector, rate_hz = str(stretch.attrs["detector"]), float(stretch.attrs["sample_rate_hz"])
    rows = []
    for each in wanted:
        left = each.strain - taken[each.first : each.first + len(each.strain)]
        rows.append(_change_and_match(each.strain, left, detector, rate_hz))
    change, match = np.array(rows, dtype=float).reshape(-1, 2).T
    unit = {"units": "1"}
    return xr.Dataset(
        {
            "snr": ("injection", np.array([each.snr for each in wanted]), unit),
            "snr_change": ("injection", change, unit),
            "match": ("injection", match, unit),
        }
    )


def _change_and_match(
    before: Series, after: Series, detector: str, sample_rate_hz: float
) -> tuple[float, float]:
    frequency_hz = np.fft.rfftfreq(len(before), 1 / sample_rate_hz)
    used = (frequency_hz >= _LOWEST_HZ) & (frequency_hz < 0.45 * sample_rate_hz)
    asd = noise_asd(frequency_hz[used], detector)
    white = [np.fft.rfft(each)[used] / asd for each in (before, after)]
    own, both, rest = (np.vdot(a, b).real for a, b in ((white[0],) * 2, white, (white[1],) * 2))
    return float(both / own - 1), float(both / np.sqrt(own * rest))
