"""What the Virgo twin gives to notebooks."""

from .parameters import EASY as EASY
from .parameters import HARD as HARD
from .parameters import VirgoParameters as VirgoParameters
from .qtransform import Tiling as Tiling
from .qtransform import image as image
from .qtransform import loudest as loudest
from .qtransform import tile_energies as tile_energies
from .qtransform import whitened as whitened
from .sensitivity import inspiral_range as inspiral_range
from .sensitivity import noise_asd as noise_asd
from .simulate import COMPONENTS as COMPONENTS
from .simulate import WITNESSED as WITNESSED
from .simulate import simulate as simulate
