"""The command `twins`."""

from .__main__ import app as app
from .__main__ import main as main
