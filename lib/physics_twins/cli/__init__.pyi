"""The command `twins`."""

from .command import app as app
from .command import main as main
