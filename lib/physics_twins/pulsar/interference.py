"""Interference from Earth: narrow-band transmitters and broad-band impulses."""

import numpy as np
from numpy.typing import NDArray


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
