"""Glitches reconstructed from what their witness recorded.

Each family of glitches is taken as a Gaussian process that is not stationary: mean 0 and the covariance
of drawn glitches, whitened, aligned at their middle, kept as its principal components. Given a record,
family, time and loudness are those of the highest evidence, and the reconstruction is the posterior's
mean, a Wiener filter whose signal has a time (Rasmussen & Williams 2006, Gaussian Processes for Machine
Learning, chapter 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.cluster import vq

from physics_twins.virgo import glitches, noise
from physics_twins.virgo.parameters import GLITCH_FAMILIES
from physics_twins.virgo.sensitivity import LOWEST_HZ, noise_asd
from physics_twins.virgo.witnesses import Channel

Series = NDArray[np.floating]

WINDOW_S = 4.0
LOUDNESSES = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0)  # S/N in the witness that are tried
_KEPT = 0.9995  # of a family's power
_ANY_PHASE = ("tomte", "whistle", "scattered_light")  # a quarter of a turn later is as likely


@dataclass(frozen=True)
class Prior:
    """A family of glitches, or alike ones in it, whitened: as strain and as a channel records it.

    Attributes:
        family: Its name.
        strain: Principal components in the strain, shape (component, time), of a glitch of S/N 1, for
            coefficients of variance 1.
        witness: The same in the witness.
    """

    family: str
    strain: Series
    witness: Series


def priors(
    channel: Channel,
    detector: str,
    sample_rate_hz: float,
    *,
    n_drawn: int = 1500,
    n_groups: int = 6,
    seed: int = 0,
    families: Sequence[str] = GLITCH_FAMILIES,
) -> list[Prior]:
    """Return what drawn glitches of all families look like in strain and in a witness.

    Args:
        channel: The witness.
        detector: Whose noise the strain has.
        sample_rate_hz: Of both.
        n_drawn: How many of each family.
        n_groups: Into how many groups of like spectra each family is divided.
        seed: Of the draws.
        families: Which.
    """
    found = []
    for family in families:
        rng = noise.generator(seed, f"prior {family}")
        pairs = []
        for _ in range(n_drawn):
            shape = glitches.draw(family, 1.0, detector, sample_rate_hz, rng)
            both = whitened_pair(shape, channel, detector, sample_rate_hz)
            pairs.append([each / np.linalg.norm(each) for each in both])
        joined = np.array(pairs, dtype=np.float32)
        if family in _ANY_PHASE:
            turned = np.fft.irfft(-1j * np.fft.rfft(joined), joined.shape[-1])
            joined = np.concatenate([joined, turned.astype(np.float32)])
        groups = _groups(joined[:, 1], n_groups, rng)
        found += [_components(family, joined[group]) for group in groups]
    return found


def _groups(witness: Series, n_groups: int, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Return which glitches have alike spectra: near their group's mean one, by k-means."""
    spectra = np.sqrt(np.abs(np.fft.rfft(witness, axis=-1))).astype(float)
    _, label = vq.kmeans2(spectra, n_groups, minit="++", rng=rng)
    return [label == n for n in range(n_groups) if np.sum(label == n) > 1]


def _components(family: str, pairs: Series) -> Prior:
    n_drawn, joined = len(pairs), pairs.reshape(len(pairs), -1)
    values, vectors = linalg.eigh(joined @ joined.T / n_drawn)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    n_kept = 1 + int(np.searchsorted(np.cumsum(values) / values.sum(), _KEPT))
    components = (vectors[:, :n_kept].T @ joined).reshape(-1, 2, pairs.shape[-1]) / np.sqrt(n_drawn)
    return Prior(family, *components.astype(float).transpose(1, 0, 2))


def whitened_pair(
    shape: Series, channel: Channel, detector: str, sample_rate_hz: float
) -> tuple[Series, Series]:
    """Return a glitch over the noise of the strain and over that of a channel, `WINDOW_S` long.

    Args:
        shape: In the middle of a window, shape (time,).
        channel: That records it.
        detector: Whose noise the strain has.
        sample_rate_hz: Of the shape.
    """
    n_samples, n_kept = len(shape), round(WINDOW_S * sample_rate_hz)
    frequency_hz = np.fft.rfftfreq(n_samples, 1 / sample_rate_hz)
    spectrum = np.fft.rfft(shape) * (frequency_hz >= LOWEST_HZ[detector]) / np.sqrt(sample_rate_hz / 2)
    first = (n_samples - n_kept) // 2
    asds = noise_asd(np.maximum(frequency_hz, 0.1), detector), channel.asd(frequency_hz)
    strain, witness = (np.fft.irfft(spectrum / asd, n_samples)[first:][:n_kept] for asd in asds)
    return strain, witness


@dataclass(frozen=True)
class Reconstruction:
    """A glitch as its witness tells it.

    Attributes:
        family: The one with the highest evidence.
        shift_s: How much later than the middle of the window it happened.
        snr: Its S/N in the witness, of those in `LOUDNESSES`.
        strain: Whitened strain, up to a factor that only the strain itself can tell, shape (time,).
        witness: The whitened witness without its noise, shape (time,).
    """

    family: str
    shift_s: float
    snr: float
    strain: Series
    witness: Series


def reconstruct(
    white: Series, families: Sequence[Prior], sample_rate_hz: float, *, longest_shift_s: float = 0.1
) -> Reconstruction:
    """Return what a whitened witness tells of a glitch near the middle of a window.

    Args:
        white: Of variance 1 without a glitch, shape (time,), `WINDOW_S` long.
        families: From `priors`.
        sample_rate_hz: Of it.
        longest_shift_s: How far from the middle the glitch may be.
    """
    n_shift = round(longest_shift_s * sample_rate_hz)
    shifts = np.arange(-n_shift, n_shift + 1)
    best: tuple[float, Prior, float, int, Series] | None = None
    for prior in families:
        overlap = prior.witness @ prior.witness.T
        moved = np.stack([np.roll(white, -shift) for shift in shifts], axis=1)
        projected = prior.witness @ moved  # (component, shift)
        for snr in LOUDNESSES:
            factor = linalg.cho_factor(np.eye(len(overlap)) + snr**2 * overlap, lower=True)
            half = linalg.solve_triangular(factor[0], snr * projected, lower=True)
            evidence = 0.5 * np.sum(half**2, axis=0) - np.sum(np.log(np.diag(factor[0])))
            place = int(evidence.argmax())
            if best is None or evidence[place] > best[0]:
                weights = snr * linalg.cho_solve(factor, snr * projected[:, place])
                best = float(evidence[place]), prior, snr, int(shifts[place]), weights
    if best is None:
        raise ValueError("families is empty")
    _, prior, snr, shift, weights = best
    strain, witness = (np.roll(weights @ each, shift) for each in (prior.strain, prior.witness))
    return Reconstruction(prior.family, shift / sample_rate_hz, snr, strain, witness)


def wiener(white: Series, families: Sequence[Prior], snr: float) -> Series:
    """Return the simple baseline: a stationary Wiener filter from the witness to the strain.

    Args:
        white: The whitened witness, shape (time,).
        families: From `priors`; the filter has their mean spectra.
        snr: Of a typical glitch in the witness.
    """
    n_samples = len(white)
    # Power that a glitch has in each bin, over that of noise in the window.
    witness, both = (np.zeros(n_samples // 2 + 1, kind) for kind in (float, complex))
    for prior in families:
        spectra = np.fft.rfft(prior.witness), np.fft.rfft(prior.strain)
        witness += np.sum(np.abs(spectra[0]) ** 2, axis=0) * snr**2 / n_samples / len(families)
        both += np.sum(spectra[0].conj() * spectra[1], axis=0) * snr**2 / n_samples / len(families)
    return np.fft.irfft(both / (witness + 1) * np.fft.rfft(white), n_samples)


def mismatch(first: Series, second: Series) -> float:
    """Return 1 less the cosine of the angle between two whitened series.

    >>> round(mismatch(np.array([1.0, 0.0]), np.array([1.0, 1.0])), 4)
    0.2929
    """
    return float(1 - first @ second / np.linalg.norm(first) / np.linalg.norm(second))
