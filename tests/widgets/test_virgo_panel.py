"""Virgo's panel without a browser: a hand moves the truth at once, and the subtraction follows."""

import numpy as np
import pytest

from physics_twins import virgo
from twin_panels.virgo import PREVIEW_GLITCHES, PREVIEW_S, RATE_HZ, SEED, VirgoPanel, preview


@pytest.fixture(scope="module")
def panel() -> VirgoPanel:
    shown = VirgoPanel(virgo.VirgoParameters(seismic=20.0))
    shown.wait()
    return shown


def curve(panel: VirgoPanel, name: str, low_hz: float, high_hz: float) -> float:
    frequency_hz, values = (np.asarray(panel.curves.data[n]) for n in ("frequency", name))
    return float(np.median(values[(frequency_hz > low_hz) & (frequency_hz < high_hz)]))


@pytest.mark.parametrize("n_unsafe", [0, 2])
def test_a_preview_is_the_stretch_that_would_be_simulated(n_unsafe):
    asked = virgo.VirgoParameters(seismic=3.0, fringe=7.0, unknown=1.0, n_unsafe=n_unsafe)
    rate_hz = PREVIEW_GLITCHES / PREVIEW_S
    same = asked.replace(duration_s=PREVIEW_S, sample_rate_hz=RATE_HZ, glitch_rate_hz=rate_hz)
    shown, whole = preview(asked, SEED), virgo.simulate(same, seed=SEED)
    scale = float(whole["strain"].std())
    # Sums in another order: rounding of double precision.
    for found, expected in ((shown["strain"], whole["strain"]), (shown["known"], virgo.oracle(whole))):
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-12 * scale)


def test_a_fault_longer_than_a_preview_allows_is_shortened():
    shown = preview(virgo.VirgoParameters(duration_s=512.0, missing_s=120.0), SEED)
    assert float((shown["fault_stop"] - shown["fault_start"])[0]) == PREVIEW_S / 4


def test_the_oracle_and_the_subtraction_come_to_the_noise_where_the_ground_was_loud(panel):
    assert panel.error == ""
    noise = curve(panel, "noise", 14, 30)
    assert curve(panel, "before", 14, 30) > 5 * noise
    # Medians of 64 frequencies and 7 parts: about 5 % each; the filters learn from 48 s.
    assert curve(panel, "oracle", 14, 30) == pytest.approx(noise, rel=0.3)
    assert curve(panel, "after", 14, 30) < 1.5 * noise
    assert panel.note.startswith("GPS ")
    assert " saw the glitch" in panel.note


def test_a_slider_moves_the_spectrum_at_once_and_the_subtraction_waits(panel):
    before, picture = curve(panel, "before", 14, 30), panel.image.source.data["image"][0]
    panel.controls["seismic"].value = 60.0
    assert curve(panel, "before", 14, 30) > 2 * before
    assert np.isnan(curve(panel, "after", 14, 30))
    assert panel.note == "The subtraction is being fitted."
    assert not np.array_equal(panel.image.source.data["image"][0], picture)
    panel.wait()
    assert np.isfinite(curve(panel, "after", 14, 30))
    panel.controls["seismic"].value = 20.0
    panel.wait()


def test_another_family_is_named_and_drawn(panel):
    panel.controls["glitch_family"].value = "blip"
    assert panel.tiles.title.text.startswith("A blip of S/N ")
    panel.wait()
    panel.controls["glitch_rate_hz"].value = 0.0
    assert panel.tiles.title.text == "No glitch in what is shown"
    panel.wait()
    assert "No channel saw" in panel.note


def test_what_cannot_be_cleaned_is_told(panel, monkeypatch):
    def nothing(*_: object, **__: object) -> None:
        raise ValueError("no channel is chosen")

    monkeypatch.setattr(virgo, "fit", nothing)
    panel.controls["jitter"].value = 4.0
    panel.wait()
    assert panel.note == "Not cleaned: no channel is chosen."


def test_what_a_physicist_tunes_comes_first(panel):
    assert list(panel.controls.about)[:5] == ["seismic", "sidebands", "fringe", "jitter", "witness_off"]
    assert not {"duration_s", "sample_rate_hz"} & set(panel.controls.about)


def test_the_same_can_be_run_as_a_batch(panel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert panel.run_as_batch("asked.json").split()[1:3] == ["run", "virgo/1_simulate"]


def test_the_code_shown_makes_the_same_stretch(panel):
    names: dict = {}
    exec(panel.as_code(), names)
    assert names["parameters"] == panel.parameters
    assert np.array_equal(names["strain"], preview(panel.parameters, panel._seed)["strain"])
