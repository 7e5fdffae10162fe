"""Materials of calorimeters, and the elements they are made of."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Material:
    """A material of Geant4's own list (from NIST).

    Attributes:
        geant4: Its name there.
        elements: Symbols of what it is made of.
        radiation_length_mm: From the Review of Particle Physics.
    """

    geant4: str
    elements: tuple[str, ...]
    radiation_length_mm: float


ABSORBERS: Mapping[str, Material] = {
    "tungsten": Material("G4_W", ("W",), 3.504),
    "lead": Material("G4_Pb", ("Pb",), 5.612),
    "copper": Material("G4_Cu", ("Cu",), 14.36),
    "iron": Material("G4_Fe", ("Fe",), 17.57),
}
SENSORS: Mapping[str, Material] = {
    "silicon": Material("G4_Si", ("Si",), 93.70),
    "scintillator": Material("G4_PLASTIC_SC_VINYLTOLUENE", ("H", "C"), 425.4),
    "liquid argon": Material("G4_lAr", ("Ar",), 140.0),
}
VACUUM = Material("G4_Galactic", ("H",), float("inf"))
# Atomic numbers of all elements that tables are written for.
ELEMENTS: Mapping[str, int] = {
    "H": 1,
    "C": 6,
    "Si": 14,
    "Ar": 18,
    "Fe": 26,
    "Cu": 29,
    "W": 74,
    "Pb": 82,
}
