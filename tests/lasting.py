"""A function that tests start in other processes; apart, because it needs nothing slow to load."""

import time
from pathlib import Path


def leave_marks(folder: Path) -> None:
    """Leave a mark each tenth of a second, as long as this process lives."""
    for n in range(100):
        (folder / str(n)).touch()
        time.sleep(0.1)
