"""The first ten minutes work, in a real JupyterLab, from the start page to the rerun."""

import first_minutes
import pytest
from sources import ROOT

pytestmark = [
    pytest.mark.slow,
    # Playwright's event loop outlives it by a moment.
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
]


def test_the_first_ten_minutes_take_less_than_ten(browser, tmp_path, monkeypatch):
    monkeypatch.delenv("PHYSICS_TWINS_RUNS", raising=False)
    folder = tmp_path / "project"
    seconds = first_minutes.drive(folder, browser, tmp_path / "first_minutes.png")
    # The lab has saved what it ran into the user's copies, and nothing else.
    tour = f"notebooks/{first_minutes.TOUR}.ipynb"
    assert "outputs" in (folder / "my" / tour).read_text().replace('"outputs": []', "")
    for original in (folder / "notebooks").rglob("*.ipynb"):
        assert original.read_bytes() == (ROOT / original.relative_to(folder)).read_bytes()
    steps = "; ".join(f"{name} {spent:.1f} s" for name, spent in seconds.items())
    print(f"in all {sum(seconds.values()):.0f} s: {steps}")  # noqa: T201
    assert sum(seconds.values()) < 600
