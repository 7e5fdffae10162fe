"""What the lattice twin gives to notebooks and panels."""

from . import exact as exact
from . import files as files
from .errors import Measured as Measured
from .errors import average as average
from .errors import measured as measured
from .errors import sector_changes as sector_changes
from .parameters import LatticeParameters as LatticeParameters
from .pictures import picture as picture
from .simulate import simulate as simulate
