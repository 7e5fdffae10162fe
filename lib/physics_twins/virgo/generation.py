"""A conditional generator of glitches in the time domain, learnt from whitened glitches of each family.

A glitch is told by numbers: those of its phase and amplitudes where it is long (`tracks`), its own
samples where it is short. A new one lies beside a learnt one, at random within the spread of those that
are nearest to it: a density of kernels whose widths and directions are those of the neighbourhood
(Vincent & Bengio 2003, Manifold Parzen Windows).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from physics_twins.virgo import glitches, noise, tracks
from physics_twins.virgo.reconstruction import whitened
from physics_twins.virgo.sensitivity import noise_asd

Series = NDArray[np.floating]

_FAR = 6.0  # standard deviations of a number, beyond which a description has gone wrong


def drawn(family: str, n_drawn: int, *, detector: str, sample_rate_hz: float, seed: int) -> Series:
    """Return whitened glitches of one family with norm 1, shape (glitch, time), 4 s long.

    Args:
        family: A key of `glitches.FAMILIES`.
        n_drawn: How many.
        detector: Whose noise whitens them.
        sample_rate_hz: Of them.
        seed: Of their parameters.
    """
    rng, rows = noise.generator(seed, f"drawn {family}"), []
    for _ in range(n_drawn):
        shape = glitches.draw(family, 1.0, detector, sample_rate_hz, rng)
        density = partial(noise_asd, detector=detector)
        rows.append(whitened(shape, density, detector, sample_rate_hz))
    return np.array(rows, dtype=np.float32)


@dataclass(frozen=True)
class Generator:
    """What has been learnt of families.

    Attributes:
        told: Numbers of the learnt glitches of each family, shape (glitch, number).
        n_samples: Of a glitch.
        n_near: How many neighbours say how far a new glitch may lie from a learnt one.
    """

    told: Mapping[str, Series]
    n_samples: int
    n_near: int

    def sample(self, family: str, n: int, *, seed: int) -> Series:
        """Return new glitches of a family, whitened, of norm 1: (glitch, time)."""
        rng, told = np.random.default_rng(seed), self.told[family]
        middle, size = 0.0, 1.0
        if family in tracks.KINDS:  # numbers of unlike sizes
            middle, size = told.mean(axis=0), told.std(axis=0).clip(1e-6)
        places = ((told - middle) / size).clip(-_FAR, _FAR)
        chosen = places[rng.choice(len(places), n)]
        apart = np.sum(places**2, axis=1) - 2 * chosen @ places.T
        near = places[np.argpartition(apart, self.n_near, axis=1)[:, : self.n_near + 1]]
        weights = rng.standard_normal((n, 1, self.n_near + 1)) / np.sqrt(self.n_near)
        made = (chosen + (weights @ (near - chosen[:, None]))[:, 0]) * size + middle
        if kind := tracks.KINDS.get(family):
            return np.array([tracks.series_of(each, kind, self.n_samples) for each in made])
        return made / np.linalg.norm(made, axis=1, keepdims=True)


def learn(families: Mapping[str, Series], *, n_near: int = 8) -> Generator:
    """Return a generator of families.

    Args:
        families: Whitened glitches of norm 1 by family, as from `drawn`, (glitch, time).
        n_near: Neighbours that say how far new ones may lie from learnt ones.
    """
    told = {}
    for family, waves in families.items():
        kind = tracks.KINDS.get(family)
        told[family] = waves if kind is None else np.array([tracks.described(w, kind) for w in waves])
    return Generator(told, next(iter(families.values())).shape[1], n_near)
