"""Particles that enter the calorimeter; each has random numbers of its own."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physics_twins.calorimeter.parameters import BeamParameters

PDG_CODES = {"electron": 11, "positron": -11, "photon": 22}


@dataclass(frozen=True)
class Beam:
    """Particles on their way into the calorimeter's face at z = 0.

    Attributes:
        particle: What they are.
        energy_gev: Kinetic energies, shape (shower,).
        theta_deg: Angles to the face's normal, shape (shower,).
        phi_deg: Azimuths, shape (shower,).
        position_mm: Where they cross the face, shape (shower, 2).
        stream: For each shower the two words that name its part of Geant4's random numbers.
    """

    particle: str
    energy_gev: NDArray[np.float64]
    theta_deg: NDArray[np.float64]
    phi_deg: NDArray[np.float64]
    position_mm: NDArray[np.float64]
    stream: NDArray[np.uint64]

    def __len__(self) -> int:
        """How many particles there are."""
        return len(self.energy_gev)

    def __getitem__(self, part: slice) -> "Beam":
        """Return some of the particles."""
        names = ("energy_gev", "theta_deg", "phi_deg", "position_mm", "stream")
        return replace(self, **{name: getattr(self, name)[part] for name in names})

    @property
    def direction(self) -> NDArray[np.float64]:
        """Unit vectors along which they fly, shape (shower, 3)."""
        theta, phi = np.deg2rad(self.theta_deg), np.deg2rad(self.phi_deg)
        return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], 1)


def draw(parameters: BeamParameters, *, seed: int, first: int, count: int) -> Beam:
    """Return the particles number `first` and following, the same whatever others are drawn.

    Args:
        parameters: Their energies, angles and places.
        seed: Seed of them all.
        first: Number of the first particle.
        count: How many.
    """
    rows, streams = [], []
    for number in range(first, first + count):
        # Philox is counted, not stepped: one short stream for each particle is what it is made for.
        rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, number, 0]))
        rows.append(rng.random(5))
        streams.append(np.random.SeedSequence((seed, number)).generate_state(2, np.uint64))
    u = np.array(rows).reshape(count, 5)
    p = parameters
    ratio = (p.energy_max_gev or p.energy_gev) / p.energy_gev
    # Geant4's generator has 2^126 numbers in a ring; two words name a place in it.
    return Beam(
        p.particle,
        p.energy_gev * ratio ** u[:, 0],
        _between(p.theta_deg, p.theta_max_deg, u[:, 1]),
        _between(p.phi_deg, p.phi_max_deg, u[:, 2]),
        p.spot_mm * (u[:, 3:] - 0.5) + 0.0,  # no -0.0
        np.array(streams, dtype=np.uint64).reshape(count, 2),
    )


def _between(low: float, high: float, share: NDArray[np.float64]) -> NDArray[np.float64]:
    return low + (max(high, low) - low) * share
