"""A sampling calorimeter as calzone understands it."""

from typing import Any

from physics_twins.calorimeter.geant4.materials import ABSORBERS, SENSORS, VACUUM
from physics_twins.calorimeter.parameters import DetectorParameters

WORLD = "World"
# Vacuum around the block, so that all that leaves it is counted on leaving the world.
MARGIN_MM = 10.0
_CM = 0.1  # calzone's unit of length, per mm


def block(parameters: DetectorParameters) -> dict[str, Any]:
    """Return the geometry: the beam goes along z, the face of the block is at z = 0.

    Every layer records deposits, and the world around records what leaves it.
    """
    volumes: dict[str, Any] = {}
    front_mm = 0.0
    for n in range(parameters.n_layers):
        for name, material, thickness_mm in (
            (absorber(n), ABSORBERS[parameters.absorber], parameters.absorber_mm),
            (sensor(n), SENSORS[parameters.sensor], parameters.sensor_mm),
        ):
            volumes[name] = {
                "material": material.geant4,
                "box": _box(parameters.width_mm, thickness_mm),
                "position": [0.0, 0.0, _CM * (front_mm + thickness_mm / 2)],
                "role": "record_deposits",
            }
            front_mm += thickness_mm
    world = {
        "material": VACUUM.geant4,
        # Centred on the face: the half behind it is of no use, and costs nothing.
        "box": _box(parameters.width_mm + 2 * MARGIN_MM, 2 * (front_mm + MARGIN_MM)),
        "role": "record_outgoing",
    }
    return {WORLD: world | volumes}


def absorber(layer: int) -> str:
    """Return the name of a layer's absorber."""
    return f"Absorber{layer}"


def sensor(layer: int) -> str:
    """Return the name of a layer's sensor."""
    return f"Sensor{layer}"


def _box(width_mm: float, thickness_mm: float) -> list[float]:
    return [_CM * width_mm, _CM * width_mm, _CM * thickness_mm]
