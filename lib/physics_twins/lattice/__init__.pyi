"""What the lattice twin gives to notebooks and panels."""

from . import exact as exact
from . import files as files
from .errors import Measured as Measured
from .errors import average as average
from .errors import measured as measured
from .errors import sector_changes as sector_changes
from .gradient_flow import gradient_flow as gradient_flow
from .loops import creutz_ratios as creutz_ratios
from .loops import two_point as two_point
from .loops import wilson_loops as wilson_loops
from .parameters import LatticeParameters as LatticeParameters
from .pictures import picture as picture
from .simulate import simulate as simulate
