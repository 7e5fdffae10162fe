"""What figures of the twins are made with; `style` has what all of them have in common."""

from . import style as style
from .downsample import SIGMA_PER_MAD as SIGMA_PER_MAD
from .downsample import block_mean as block_mean
from .plots import curves as curves
from .plots import image as image
from .plots import pixel as pixel
from .plots import series as series
from .style import load_extension as load_extension
from .verbs import drift as drift
from .verbs import estimates as estimates
from .verbs import scenarios as scenarios
from .verbs import table as table
