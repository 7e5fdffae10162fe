"""Real files that tests read, and skip without."""

from pathlib import Path

import pytest

from physics_twins.data import find_data_file


def real_file(name: str) -> Path:
    """Return where a real file lies; the test is skipped where it is not here."""
    if path := find_data_file(name):
        return path
    pytest.skip(f"twins data fetch {name}")
