"""What the Virgo twin gives to notebooks."""

from . import files as files
from . import plots as plots
from . import segments as segments
from .accounting import frames_made_worse as frames_made_worse
from .accounting import removed_by_band as removed_by_band
from .accounting import veto_account as veto_account
from .cleaning import Wiener as Wiener
from .cleaning import fit as fit
from .cleaning import subtract as subtract
from .following import follow as follow
from .oracle import oracle as oracle
from .parameters import EASY as EASY
from .parameters import HARD as HARD
from .parameters import CleaningParameters as CleaningParameters
from .parameters import VirgoParameters as VirgoParameters
from .qtransform import Tiling as Tiling
from .qtransform import image as image
from .qtransform import loudest as loudest
from .qtransform import tile_energies as tile_energies
from .qtransform import whitened as whitened
from .sensitivity import inspiral_range as inspiral_range
from .sensitivity import noise_asd as noise_asd
from .simulate import COMPONENTS as COMPONENTS
from .simulate import simulate as simulate
