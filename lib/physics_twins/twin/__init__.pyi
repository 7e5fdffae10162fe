"""What a twin is calibrated, watched and asked with."""

from .drift import Evidence as Evidence
from .drift import Number as Number
from .drift import Watch as Watch
from .state import Calibration as Calibration
from .state import TwinState as TwinState
from .state import correlated as correlated
from .whatif import Answer as Answer
from .whatif import Asked as Asked
from .whatif import changed as changed
from .whatif import what_if as what_if
