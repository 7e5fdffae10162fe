"""Photons absorbed and scattered by atoms: cross sections of xraylib, continued above 0.7 MeV."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# xraylib's tables reach a little further, but their splines are rough at the ends.
LOWEST_MEV, HIGHEST_MEV = 1.1e-4, 0.7
# Above, the photoelectric effect falls as 1/E^2 up to here and as 1/E beyond (Davisson 1965).
STEEP_TO_MEV = 5.0
INSTALL = "pip install calzone xraylib"


def photoelectric_cross_section(energy_mev: ArrayLike, atomic_number: int) -> NDArray[np.float64]:
    """Return the photoelectric cross section of an atom in barn, of the shape of `energy_mev`.

    Below 0.1 keV it is that at 0.1 keV. There is no fluorescence with it: see `data_folder`.

    Raises:
        ModuleNotFoundError: xraylib is missing.

    >>> photoelectric_cross_section([0.01, 0.02], 14).round(1)
    array([1546.2,  190.7])
    """
    energy = np.asarray(energy_mev, dtype=float)
    steep = (HIGHEST_MEV / np.clip(energy, HIGHEST_MEV, STEEP_TO_MEV)) ** 2
    return _tabulated("CSb_Photo", energy, atomic_number) * steep / np.maximum(energy / STEEP_TO_MEV, 1)


def rayleigh_cross_section(energy_mev: ArrayLike, atomic_number: int) -> NDArray[np.float64]:
    """Return the cross section of coherent scattering in barn; it falls as 1/E^2 above 0.7 MeV.

    Raises:
        ModuleNotFoundError: xraylib is missing.

    >>> rayleigh_cross_section([0.01, 0.1], 14).round(2)
    array([29.02,  0.72])
    """
    energy = np.asarray(energy_mev, dtype=float)
    tabulated = _tabulated("CSb_Rayl", energy, atomic_number)
    return tabulated * (HIGHEST_MEV / np.maximum(energy, HIGHEST_MEV)) ** 2


def absorption_edges(atomic_number: int) -> list[float]:
    """Return the energies in MeV, rising, at which shells begin to absorb; those within the tables."""
    edge = require_xraylib().EdgeEnergy
    found = [1e-3 * _or_zero(edge, atomic_number, shell) for shell in range(28)]
    return sorted(energy for energy in found if LOWEST_MEV < energy < HIGHEST_MEV)


def _tabulated(name: str, energy_mev: NDArray[np.float64], atomic_number: int) -> NDArray[np.float64]:
    table = getattr(require_xraylib(), name)
    inside_kev = 1e3 * np.clip(energy_mev, LOWEST_MEV, HIGHEST_MEV)
    values = [table(atomic_number, float(each)) for each in inside_kev.ravel()]
    return np.array(values).reshape(energy_mev.shape)


def _or_zero(function: Callable[..., float], *arguments: int) -> float:
    try:
        return function(*arguments)
    except ValueError:  # an atom without this shell
        return 0.0


def require_xraylib() -> Any:
    try:
        import xraylib
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"xraylib, which knows how atoms absorb photons, is missing: `{INSTALL}`", name="xraylib"
        ) from None
    return xraylib
