"""The flows that there are: a path, what carries fields along it, and how large that is, by theory."""

from physics_twins.lattice.flow.abelian_velocity import AbelianSizes, AbelianVelocity
from physics_twins.lattice.flow.checkerboard import Layers, LayerSizes
from physics_twins.lattice.flow.gauge_layers import GaugeLayers
from physics_twins.lattice.flow.gauge_path import GaugePath
from physics_twins.lattice.flow.gauge_velocity import GaugeSizes, GaugeVelocity
from physics_twins.lattice.flow.path import Path
from physics_twins.lattice.flow.velocity import Sizes, Velocity

AnyPath = Path | GaugePath
AnySizes = Sizes | AbelianSizes | GaugeSizes
AnyVelocity = Velocity | AbelianVelocity | GaugeVelocity
AnyLayers = Layers | GaugeLayers
AnyMap = AnyVelocity | AnyLayers


def velocity_of(path: AnyPath, sizes: AnySizes) -> AnyVelocity:
    """Return a velocity of a path that moves nothing yet.

    Raises:
        TypeError: The sizes are those of another theory.
    """
    if isinstance(path, Path) and isinstance(sizes, Sizes):
        return Velocity(path, sizes)
    if isinstance(path, GaugePath) and path.theory == "u1" and isinstance(sizes, AbelianSizes):
        return AbelianVelocity(path, sizes)
    if isinstance(path, GaugePath) and path.theory != "u1" and isinstance(sizes, GaugeSizes):
        return GaugeVelocity(path, sizes)
    raise TypeError(f"{type(sizes).__name__} are no sizes of a velocity of {path.theory}")


def layers_of(path: AnyPath, sizes: LayerSizes) -> AnyLayers:
    """Return coupling layers of a path that move nothing yet.

    Raises:
        ValueError: The lattice's sides do not fit their masks.
    """
    return Layers(path, sizes) if isinstance(path, Path) else GaugeLayers(path, sizes)
