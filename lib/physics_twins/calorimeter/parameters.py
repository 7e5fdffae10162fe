"""Parameters of the calorimeter twin: its layers, the particles that enter, and the cells they fill."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field


class DetectorParameters(Parameters):
    """Layers, each an absorber with a sensor behind it, in a square block."""

    absorber: Literal["tungsten", "lead", "copper", "iron"] = field(
        "tungsten", help="Material in which showers develop"
    )
    absorber_mm: float = field(2.8, ge=0.01, le=50, unit="mm", help="Thickness of each absorber")
    sensor: Literal["silicon", "scintillator", "liquid argon"] = field(
        "silicon", folded=True, help="Material that sees the energy left in it"
    )
    sensor_mm: float = field(
        0.5, ge=0.01, le=50, unit="mm", folded=True, help="Thickness of each sensor"
    )
    n_layers: int = field(25, ge=1, le=200, folded=True, help="Layers from front to back")
    width_mm: float = field(
        400.0, ge=10, le=5000, unit="mm", folded=True, help="Side of the block across the beam"
    )
    production_cut_mm: float = field(
        0.7,
        ge=0.001,
        le=100,
        unit="mm",
        logarithmic=True,
        folded=True,
        help="Geant4 follows electrons and photons that would get further than this",
    )

    @property
    def depth_mm(self) -> float:
        """Thickness of the whole block."""
        return self.n_layers * (self.absorber_mm + self.sensor_mm)


class BeamParameters(Parameters):
    """The particles that enter, each alone; where a highest value is 0, all have the lowest."""

    particle: Literal["electron", "positron", "photon"] = field(
        "electron", folded=True, help="What enters the calorimeter"
    )
    energy_gev: float = field(
        10.0,
        ge=0.01,
        le=1000,
        unit="GeV",
        logarithmic=True,
        help="Kinetic energy of each particle, or the lowest",
    )
    energy_max_gev: float = field(
        0.0,
        ge=0,
        le=1000,
        unit="GeV",
        folded=True,
        help="Highest energy, log-uniform; 0 for one energy",
    )
    theta_deg: float = field(
        0.0,
        ge=0,
        le=60,
        unit="deg",
        help="Angle to the normal of the calorimeter's face, or the lowest",
    )
    theta_max_deg: float = field(
        0.0, ge=0, le=60, unit="deg", folded=True, help="Largest angle, uniform; 0 for one angle"
    )
    phi_deg: float = field(
        0.0,
        ge=0,
        le=360,
        unit="deg",
        folded=True,
        help="Azimuth to which it is inclined, or the lowest",
    )
    phi_max_deg: float = field(
        0.0, ge=0, le=360, unit="deg", folded=True, help="Largest azimuth, uniform; 0 for one azimuth"
    )
    spot_mm: float = field(
        0.0, ge=0, le=1000, unit="mm", folded=True, help="Side of the square on the face that is hit"
    )
    n_showers: int = field(10, ge=1, le=10_000_000, help="Particles that enter")

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> Self:
        for name, unit in (("energy", "gev"), ("theta", "deg"), ("phi", "deg")):
            low, high = getattr(self, f"{name}_{unit}"), getattr(self, f"{name}_max_{unit}")
            if 0 < high < low:
                raise ValueError(
                    f"{name}_max_{unit} = {high:g} must be 0 or at least {name}_{unit} = {low:g}"
                )
        return self


class CellParameters(Parameters):
    """The cells in which energy is summed."""

    layout: Literal["cartesian", "cylindrical", "layers"] = field(
        "cartesian",
        folded=True,
        help="51 x 51 cells in each layer; 45 x 16 x 9 in depth, angle and radius around the beam; or"
        " 45 in depth, each the sum of whole layers",
    )
    cell_mm: float = field(
        5.1, ge=0.1, le=100, unit="mm", folded=True, help="Side of a square cell, or width of a ring"
    )
    scored: Literal["sensors", "everything"] = field(
        "sensors", folded=True, help="Whether cells see the sensors only, or the absorbers as well"
    )
    threshold_kev: float = field(
        15.15, ge=0, le=1e6, unit="keV", folded=True, help="A cell with less energy counts as empty"
    )


class CalorimeterParameters(CellParameters, BeamParameters, DetectorParameters):
    """Showers in a sampling calorimeter; the defaults are 10 GeV electrons in tungsten and silicon."""

    @model_validator(mode="after")
    def _spot_is_on_the_face(self) -> Self:
        if self.spot_mm > self.width_mm:
            raise ValueError(
                f"spot_mm = {self.spot_mm:g} mm is wider than the calorimeter's face,"
                f" width_mm = {self.width_mm:g} mm"
            )
        return self


# Changes of the defaults that make the calorimeter of CaloChallenge's data sets 2 and 3, from Geant4's
# example Par04: cells of 2 layers, 22.5 degrees and 4.65 mm in which absorber and sensor both count.
CALO_CHALLENGE_2: Mapping[str, Any] = {
    "absorber_mm": 1.4,
    "sensor_mm": 0.3,
    "n_layers": 90,
    "width_mm": 800.0,
    "layout": "cylindrical",
    "cell_mm": 4.65,
    "scored": "everything",
}
# The same layers as a sampling calorimeter reads them: silicon alone, whole layers two by two.
SILICON_LAYERS: Mapping[str, Any] = {**CALO_CHALLENGE_2, "layout": "layers", "scored": "sensors"}
