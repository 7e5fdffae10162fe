"""Interference from Earth, and data lost on the way: eleven kinds, each drawn as an event with a place.

What an event looks like follows its transmitter: how wide it is, how it is modulated, how long it is
in the beam. How bright it is is left to the caller: an event's flux density is of order 1, with an
exponential distribution from event to event.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import pdtrik

from physics_twins.pulsar.parameters import InterferenceParameters

LIGHT_KM_S = 299792.458
# One event's patch holds no more samples than this (16 MB); a longer event is cut.
MAX_PATCH_SAMPLES = 1 << 22
# What a narrow-band transmitter fills at most, as a part of the band.
MAX_NARROW = 1 / 8
# Distance-measuring equipment (ICAO Annex 10, volume I, 3.5): two pulses 12 us apart, 2700 pairs/s.
DME_PAIR_S, DME_PAIRS_PER_S = 12e-6, 2700.0
ORBIT_SPEED_KM_S = 7.5  # of a satellite in low orbit


class Site(NamedTuple):
    """Where an event is drawn: the observation, and the source of randomness."""

    n_spectra: int
    frequency_mhz: NDArray[np.float64]
    sampling_s: float
    rng: np.random.Generator
    first: int = 0  # number of the first spectrum

    def place(self, width_mhz: float, *, at_most: float = MAX_NARROW) -> tuple[int, int]:
        """Return first channel and number of channels of a transmitter somewhere in the band."""
        n_channels = len(self.frequency_mhz)
        n_wide = min(self.channels(width_mhz), max(1, int(at_most * n_channels)))
        return int(self.rng.integers(n_channels - n_wide + 1)), n_wide

    def channels(self, width_mhz: float) -> int:
        """Return how many channels hold so much of the band, at least one."""
        step_mhz = abs(self.frequency_mhz[1] - self.frequency_mhz[0])
        return max(1, int(np.ceil(width_mhz / step_mhz)))

    def spectra(self, duration_s: float, n_wide: int) -> int:
        """Return how many spectra an event lasts, at least one."""
        return int(np.clip(duration_s / self.sampling_s, 1, max(1, MAX_PATCH_SAMPLES // n_wide)))

    def flicker(self, n_time: int) -> NDArray[np.float32]:
        """Return a mean of 1 with a scatter of a third, never negative, shape (time,)."""
        return np.maximum(1 + self.rng.standard_normal(n_time, dtype=np.float32) / 3, 0)

    def struck(self, time_s: NDArray[np.float64], flux: ArrayLike, n_time: int) -> NDArray[np.float32]:
        """Return a series that is hit at some times, shape (time,)."""
        row = np.minimum((time_s / self.sampling_s).astype(int), n_time - 1)
        weights = np.broadcast_to(flux, row.shape)
        return np.bincount(row, weights, minlength=n_time).astype(np.float32)

    def sloping(self, octaves: float) -> NDArray[np.float32]:
        """Return a spectrum over the whole band that changes by up to so many octaves."""
        position = np.linspace(-0.5, 0.5, len(self.frequency_mhz))
        return (2 ** (self.rng.uniform(-octaves, octaves) * position)).astype(np.float32)


Patch = tuple[int, NDArray[np.float32]]  # first channel; flux density (time, channel)


def _carrier(site: Site) -> Patch:
    """A transmission of 10 ms to 1 s, 0.3 to 5 MHz wide, that flickers by a third."""
    first, n_wide = site.place(site.rng.uniform(0.3, 5))
    n_time = site.spectra(10 ** site.rng.uniform(-2, 0), n_wide)
    return first, _same(site.rng.exponential() * site.flicker(n_time), n_wide)


def _persistent(site: Site) -> Patch:
    """A carrier that never ends, 0.1 to 1 MHz wide, fading by half every 0.1 to 1 s."""
    first, n_wide = site.place(site.rng.uniform(0.1, 1))
    fading_s, phase, flux = 10 ** site.rng.uniform(-1, 0), site.rng.random(), site.rng.exponential()
    turns = (site.first + np.arange(site.n_spectra)) * site.sampling_s / fading_s + phase
    # What changes comes last: a carrier asked for piece by piece stays at its place.
    now = site._replace(rng=np.random.default_rng([int(site.rng.integers(2**63)), site.first]))
    fading = 1 + 0.5 * np.sin(2 * np.pi * (turns % 1).astype(np.float32))
    return first, _same((0.3 + flux) * fading * now.flicker(site.n_spectra), n_wide)


def _hopping(site: Site) -> Patch:
    """A mobile device: slots of 0.4 to 5 ms, each 1 MHz wide somewhere in 5 to 40 MHz."""
    rng = site.rng
    first, n_wide = site.place(rng.uniform(5, 40), at_most=0.5)
    n_time = site.spectra(10 ** rng.uniform(-1.3, 0), n_wide)
    slot = max(1, round(10 ** rng.uniform(-3.4, -2.3) / site.sampling_s))
    n_slots = -(-n_time // slot)
    hop = min(n_wide, site.channels(1.0))
    place = rng.integers(0, n_wide - hop + 1, (n_slots, 1))
    channel = np.arange(n_wide)
    sent = rng.random((n_slots, 1)) < 0.7
    sent[0] = True
    on = (channel >= place) & (channel < place + hop) & sent
    flux = rng.exponential() * rng.uniform(0.7, 1.3, (n_slots, 1)) * on  # (slot, channel)
    return first, np.repeat(flux.astype(np.float32), slot, axis=0)[:n_time]


def _satellite(site: Site) -> Patch:
    """A satellite that crosses the beam and its sidelobes in 0.3 to 3 s.

    Its spectrum is that of a spread carrier, 2 to 20 MHz between the zeros, moved by the Doppler
    shift of a low orbit; its light curve is that of an evenly lit aperture.
    """
    width_mhz = site.rng.uniform(2, 20)
    first, n_wide = site.place(width_mhz, at_most=0.5)
    n_time = site.spectra(10 ** site.rng.uniform(-0.5, 0.5), n_wide)
    way = np.linspace(-4, 4, n_time, dtype=np.float32)[:, None]  # in widths of the beam
    own_mhz = site.frequency_mhz[first : first + n_wide]
    doppler_mhz = own_mhz.mean() * ORBIT_SPEED_KM_S / LIGHT_KM_S * way / np.hypot(way, 2)
    offset = ((own_mhz - own_mhz.mean()).astype(np.float32) - doppler_mhz) / (width_mhz / 2)
    flux = site.rng.exponential() * np.sinc(way) ** 2 * np.sinc(offset) ** 2
    return first, flux.astype(np.float32)


def _radar(site: Site) -> Patch:
    """One sweep of a radar's antenna: 20 to 80 ms of pulses, 1 to 4 ms apart, 1 to 5 MHz wide."""
    first, n_wide = site.place(site.rng.uniform(1, 5))
    dwell_s, interval_s = site.rng.uniform(0.02, 0.08), site.rng.uniform(1e-3, 4e-3)
    n_time = site.spectra(dwell_s, n_wide)
    pulse_s = np.arange(site.rng.uniform(0, interval_s), dwell_s, interval_s)
    beam = np.exp(-0.5 * ((pulse_s / dwell_s - 0.5) / 0.2) ** 2)
    return first, _same(10 * site.rng.exponential() * site.struck(pulse_s, beam, n_time), n_wide)


def _beacon(site: Site) -> Patch:
    """Distance-measuring equipment: pairs of pulses at random, 1 MHz wide, for 0.05 to 1 s."""
    first, n_wide = site.place(1.0)
    n_time = site.spectra(10 ** site.rng.uniform(-1.3, 0), n_wide)
    duration_s = n_time * site.sampling_s
    n_pairs = max(1, site.rng.poisson(DME_PAIRS_PER_S * duration_s))
    pair_s = site.rng.uniform(0, duration_s, n_pairs)
    pulse_s = np.concatenate([pair_s, pair_s + DME_PAIR_S])
    return first, _same(site.rng.exponential() * site.struck(pulse_s, 1.0, n_time), n_wide)


def _impulse(site: Site) -> Patch:
    """Ignition or switching: 0.1 to 5 ms, sloping by up to a factor two over the band."""
    n_time = site.spectra(10 ** site.rng.uniform(-4, -2.3), len(site.frequency_mhz))
    spectrum = np.float32(site.rng.exponential()) * site.sloping(1)
    return 0, np.repeat(spectrum[None], n_time, axis=0)


def _lightning(site: Site) -> Patch:
    """A flash: 3 to 20 strokes in 0.05 to 0.4 s that decay within 0.1 to 1 ms.

    The power falls as frequency^-2 (Le Vine 1987, Meteorol. Atmos. Phys. 37, 195).
    """
    duration_s, n_strokes = site.rng.uniform(0.05, 0.4), site.rng.integers(3, 21)
    n_time = site.spectra(duration_s, len(site.frequency_mhz))
    stroke_s = site.rng.uniform(0, duration_s, n_strokes)
    struck = site.struck(stroke_s, site.rng.exponential(2, n_strokes), n_time)
    decay = 10 ** site.rng.uniform(-4, -3) / site.sampling_s  # in spectra
    tail = np.exp(-np.arange(max(1, int(6 * decay)), dtype=np.float32) / np.float32(decay))
    spectrum = (site.frequency_mhz / site.frequency_mhz.mean()) ** -2.0
    return 0, np.outer(np.convolve(struck, tail)[:n_time], spectrum.astype(np.float32))


def _mains(site: Site) -> Patch:
    """Sparks on a power line: 0.1 to 0.5 s of pulses at 50 or 100 Hz, each 0.1 to 1 ms long."""
    rate_hz = site.rng.choice([50.0, 100.0])
    n_time = site.spectra(site.rng.uniform(0.1, 0.5), len(site.frequency_mhz))
    phase = (np.arange(n_time) * site.sampling_s * rate_hz + site.rng.uniform()) % 1
    on = phase < max(10 ** site.rng.uniform(-4, -3), site.sampling_s) * rate_hz
    on[n_time // 2] |= not on.any()
    flux = np.float32(site.rng.exponential()) * on * site.flicker(n_time)
    return 0, np.outer(flux, site.sloping(2))


def _peryton(site: Site) -> Patch:
    """A swept burst from Earth, as a microwave oven makes it when its door is opened.

    It is 5 to 40 ms wide, sweeps the band in 0.1 to 0.5 s with kinks that no plasma makes, and is
    patchy in frequency (Burke-Spolaor et al. 2011, ApJ 727, 18).
    """
    rng, n_channels = site.rng, len(site.frequency_mhz)
    sigma_s, sweep_s = rng.uniform(5e-3, 40e-3) / 2.355, rng.uniform(0.1, 0.5)
    down = np.linspace(0, 1, n_channels)
    if site.frequency_mhz[0] < site.frequency_mhz[-1]:
        down = down[::-1]
    kink = np.interp(down, np.linspace(0, 1, 7), rng.normal(0, 0.08, 7))
    delay_s = 3 * sigma_s + sweep_s * np.clip(down ** rng.uniform(0.6, 1.6) + kink, 0, 1.2)
    n_time = site.spectra(delay_s.max() + 3 * sigma_s, n_channels)
    patchy = rng.exponential() * np.exp(np.interp(down, np.linspace(0, 1, 12), rng.normal(0, 0.7, 12)))
    time_s = np.arange(n_time, dtype=np.float32)[:, None] * np.float32(site.sampling_s)
    patch = (time_s - delay_s.astype(np.float32)) / np.float32(np.sqrt(2) * sigma_s)
    for step in (np.square, np.negative, np.exp):  # in place: a burst holds a million samples
        step(patch, out=patch)
    patch *= patchy.astype(np.float32)
    return 0, patch


def _dropout(site: Site) -> Patch:
    """Packets that never came: 0.5 to 20 ms of the whole band, or of a half to an eighth of it."""
    n_channels = len(site.frequency_mhz)
    n_wide = max(1, n_channels // int(site.rng.choice([1, 2, 4, 8])))
    first = int(site.rng.integers(n_channels // n_wide)) * n_wide
    n_time = site.spectra(10 ** site.rng.uniform(-3.3, -1.7), n_wide)
    return first, np.ones((n_time, n_wide), dtype=np.float32)


def _same(flux: NDArray[np.floating], n_wide: int) -> NDArray[np.float32]:
    """Return a light curve (time,) in each of so many channels, shape (time, channel)."""
    return np.repeat(flux.astype(np.float32)[:, None], n_wide, axis=1)


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
# What draws each kind, in that order.
_DRAWN = (
    *(_carrier, _persistent, _hopping, _satellite, _radar, _beacon),
    *(_impulse, _lightning, _mains, _peryton, _dropout),
)
PATCHES: Mapping[str, Callable[[Site], Patch]] = dict(zip(KINDS, _DRAWN, strict=True))


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

    >>> band = np.linspace(1529.375, 1210.625, 256)
    >>> event = draw("carrier", 1024, band, 102.4e-6, np.random.default_rng(1))
    >>> event.label, event.patch.shape[1] <= 5, bool((event.patch >= 0).all())
    ('nbrfi', True, True)
    """
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
