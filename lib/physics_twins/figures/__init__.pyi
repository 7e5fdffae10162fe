"""What figures of the twins are made with; `style` has what all of them have in common."""

from . import style as style
from .extension import load_extension as load_extension
from .plots import curves as curves
from .plots import image as image
from .plots import series as series
from .verbs import drift as drift
from .verbs import estimates as estimates
from .verbs import table as table
