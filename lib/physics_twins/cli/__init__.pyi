"""The command `twins`."""

from .__main__ import main as main
