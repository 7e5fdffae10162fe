"""What each kind of interference looks like: one function draws where an event lies and its shape.

How bright an event is has an exponential distribution of mean 1, times how it is modulated.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


PATCHES: Mapping[str, Callable[[Site], Patch]] = {
    "carrier": _carrier,
    "persistent": _persistent,
    "hopping": _hopping,
    "satellite": _satellite,
    "radar": _radar,
    "beacon": _beacon,
    "impulse": _impulse,
    "lightning": _lightning,
    "mains": _mains,
    "peryton": _peryton,
    "dropout": _dropout,
}
