"""Interference from Earth, and data lost on the way: eleven kinds, each drawn as an event with a place.

What an event looks like follows its transmitter: how wide it is, how it is modulated, how long it is
in the beam. How bright it is is left to the caller: an event's flux density is of order 1, with an
exponential distribution from event to event.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtrik

from physics_twins.pulsar.parameters import InterferenceParameters
from physics_twins.pulsar.physics.interference_kinds import PATCHES, Site

# What each kind is called by a classifier: narrow-band, broad-band, or neither.
KINDS: Mapping[str, str] = {
    "carrier": "nbrfi",
    "persistent": "nbrfi",
    "hopping": "nbrfi",
    "satellite": "nbrfi",
    "radar": "nbrfi",
    "beacon": "nbrfi",
    "impulse": "bbrfi",
    "lightning": "bbrfi",
    "mains": "bbrfi",
    "peryton": "other",
    "dropout": "other",
}


@dataclass(frozen=True, eq=False)
class Event:
    """One event of interference, or one gap in the data.

    Attributes:
        kind: One of `KINDS`.
        start: First spectrum that it reaches.
        first_channel: First channel that it reaches.
        patch: Its flux density, shape (time, channel); of a `dropout`, 1 where data are lost.
    """

    kind: str
    start: int
    first_channel: int
    patch: NDArray[np.float32]

    @property
    def label(self) -> str:
        """`nbrfi`, `bbrfi` or `other`."""
        return KINDS[self.kind]

    @property
    def stop(self) -> int:
        """The spectrum after its last one."""
        return self.start + self.patch.shape[0]

    @property
    def stop_channel(self) -> int:
        """The channel after its last one."""
        return self.first_channel + self.patch.shape[1]

    def scaled(self, factor: float) -> "Event":
        """Return the same event, `factor` times as bright."""
        return replace(self, patch=self.patch * np.float32(factor))

    def within(self, first: int, stop: int) -> tuple[slice, NDArray[np.float32]]:
        """Return which rows of spectra `first` to `stop` it reaches, and its flux density there."""
        low, high = max(self.start, first), min(self.stop, stop)
        rows = slice(low - first, max(low, high) - first)
        return rows, self.patch[low - self.start : max(low, high) - self.start]

    def add_to(self, spectra: NDArray[np.float32], first: int = 0) -> None:
        """Add its flux density to spectra, shape (time, channel), that begin at spectrum `first`."""
        rows, patch = self.within(first, first + len(spectra))
        spectra[rows, self.first_channel : self.stop_channel] += patch

    def fluence_jy_ms(self, sampling_s: float) -> float:
        """Return the flux density in Jy, integrated over time, mean over the event's channels."""
        return float(self.patch.sum(dtype=np.float64) / self.patch.shape[1] * sampling_s * 1e3)


def draw(
    kind: str,
    n_spectra: int,
    frequency_mhz: NDArray[np.float64],
    sampling_s: float,
    rng: np.random.Generator,
) -> Event:
    """Return one event that begins within `n_spectra` spectra; it may end after them.

    Args:
        kind: One of `KINDS`.
        n_spectra: Spectra in which it begins; a `persistent` carrier fills them.
        frequency_mhz: Channel centres, shape (channel,), two or more, equally spaced.
        sampling_s: Time from one spectrum to the next.
        rng: Source of randomness.

    Raises:
        ValueError: There is no such kind.

    >>> band = np.linspace(1529.375, 1210.625, 256)
    >>> event = draw("carrier", 1024, band, 102.4e-6, np.random.default_rng(1))
    >>> event.label, event.patch.shape[1] <= 5, bool((event.patch >= 0).all())
    ('nbrfi', True, True)
    """
    if kind not in KINDS:
        raise ValueError(
            f"kind = {kind!r}: there is no such interference; known are {', '.join(KINDS)}"
        )
    start = 0 if kind == "persistent" else int(rng.integers(n_spectra))
    return _event(kind, start, Site(n_spectra, frequency_mhz, sampling_s, rng))


SEED_KEY = 4


def events_begun(
    parameters: InterferenceParameters,
    seed: int,
    *,
    first: int,
    n_spectra: int,
    segment_spectra: int,
    frequency_mhz: NDArray[np.float64],
    sampling_s: float,
) -> list[Event]:
    """Return the events that begin in a segment, in Jy, and the persistent carriers' part of it.

    Each kind has its own random numbers for each segment, so that switching one off leaves the others
    as they are.

    Args:
        parameters: Rates and flux densities.
        seed: Of all segments.
        first: First spectrum of the segment, a multiple of `segment_spectra`.
        n_spectra: Of how many the events are wanted; events that begin later are not drawn.
        segment_spectra: Spectra in a whole segment.
        frequency_mhz: Channel centres, shape (channel,).
        sampling_s: Time from one spectrum to the next.
    """
    segment = first // segment_spectra
    chooser = np.random.default_rng([seed, SEED_KEY, len(KINDS), segment])
    chances = chooser.random(len(KINDS))
    site = Site(segment_spectra, frequency_mhz, sampling_s, chooser, first)
    events = []
    for number, kind in enumerate(KINDS):
        key = [seed, SEED_KEY, number]
        if kind == "persistent":
            for carrier in range(parameters.persistent_carriers):
                rng = np.random.default_rng([*key, carrier])
                events.append(_event(kind, first, site._replace(n_spectra=n_spectra, rng=rng)))
            continue
        rate = getattr(parameters, f"{kind}_rate_hz") * segment_spectra * sampling_s
        if n_events := _poisson(chances[number], rate):
            rng = np.random.default_rng([*key, segment])
            starts = np.sort(rng.integers(segment_spectra, size=n_events))
            wanted = first + starts[starts < n_spectra]
            events += [_event(kind, int(start), site._replace(rng=rng)) for start in wanted]
    for event in events:
        event.patch[:] *= _flux_jy(parameters, event.kind)
    return events


def _event(kind: str, start: int, site: Site) -> Event:
    return Event(kind, start, *PATCHES[kind](site))


def _flux_jy(parameters: InterferenceParameters, kind: str) -> np.float32:
    """Return the mean flux density of a kind: that of carriers, or that of impulses; 1 for a gap."""
    jy = parameters.carrier_jy if KINDS[kind] == "nbrfi" else parameters.impulse_jy
    return np.float32(1 if kind == "dropout" else jy)


def _poisson(chance: float, mean: float) -> int:
    """Return the smallest number that a Poisson distribution does not exceed with this chance."""
    if chance <= math.exp(-mean):
        return 0
    return math.ceil(pdtrik(chance, mean))
