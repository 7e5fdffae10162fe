"""Interference from Earth, and data lost on the way: eleven kinds, each drawn as an event with a place.

What an event looks like follows its transmitter: how wide it is, how it is modulated, how long it is
in the beam. How bright it is is left to the caller: an event's flux density is of order 1, with an
exponential distribution from event to event.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.interference_kinds import PATCHES, Site

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

    def shifted(self, n_spectra: int) -> "Event":
        """Return the same event, `n_spectra` later."""
        return replace(self, start=self.start + n_spectra)

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
    site = Site(n_spectra, frequency_mhz, sampling_s, rng)
    first_channel, patch = PATCHES[kind](site)
    return Event(kind, start, first_channel, patch)


def narrowband(
    shape: tuple[int, int],
    *,
    sampling_s: float,
    rate_hz: float,
    flux_jy: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return bursts of transmitters that fill a few channels for a while, in Jy.

    Bursts begin at random, last 10 ms to 1 s, are one to four channels wide, have an exponential
    distribution of flux density and flicker by a third.

    Args:
        shape: (time, frequency).
        sampling_s: Time from one spectrum to the next.
        rate_hz: Bursts that begin per second over the whole band.
        flux_jy: Mean flux density in the middle of a burst's channels.
        rng: Source of randomness.
    """
    n_time, n_channels = shape
    out = np.zeros(shape, dtype=np.float32)
    for _ in range(rng.poisson(rate_hz * n_time * sampling_s)):
        start = rng.integers(n_time)
        length = max(1, int(10 ** rng.uniform(-2, 0) / sampling_s))
        stop = min(n_time, start + length)
        channel, n_wide = rng.integers(n_channels), rng.integers(1, 5)
        burst_jy = flux_jy * rng.exponential() * (1 + rng.standard_normal(stop - start) / 3)
        out[start:stop, channel : channel + n_wide] += burst_jy[:, None].clip(0).astype(np.float32)
    return out


def broadband(
    shape: tuple[int, int],
    *,
    sampling_s: float,
    rate_hz: float,
    flux_jy: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return impulses that reach all channels at once (lightning, ignition, switching), in Jy.

    Impulses come at random, last 0.1 to 5 ms, have an exponential distribution of flux density, and a
    spectrum that slopes by up to a factor two over the band.

    Args: as `narrowband`; `rate_hz` counts impulses, `flux_jy` is their mean flux density.
    """
    n_time, n_channels = shape
    out = np.zeros(shape, dtype=np.float32)
    position = np.linspace(-0.5, 0.5, n_channels)
    for _ in range(rng.poisson(rate_hz * n_time * sampling_s)):
        start = rng.integers(n_time)
        length = max(1, int(10 ** rng.uniform(-4, -2.3) / sampling_s))
        spectrum = rng.exponential() * flux_jy * 2 ** (rng.uniform(-1, 1) * position)
        out[start : start + length] += spectrum.astype(np.float32)
    return out
