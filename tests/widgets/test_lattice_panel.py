"""The lattice's panel without a browser: a chain that runs, numbers beside exact ones, and flags."""

import re

import numpy as np
import pytest

from physics_twins import lattice
from twin_panels.lattice import LatticePanel, drawn, flow_in_words, previewed

U1 = lattice.LatticeParameters(theory="u1", beta=3.0, side=8)


@pytest.fixture(scope="module")
def panel() -> LatticePanel:
    shown = LatticePanel(U1, n_pieces=3)
    shown.wait()
    return shown


def test_a_chain_is_drawn_piece_by_piece_beside_the_exact_value(panel):
    assert panel.error == ""
    means = {name: np.asarray(column) for name, column in panel.means.data.items()}
    assert list(means["n"]) == [400, 800, 1200]
    exact = lattice.exact.charge_squared(3.0, 64)
    np.testing.assert_allclose(means["exact"], exact, rtol=1e-5)
    error = (means["high"] - means["low"])[-1] / 2
    assert abs(means["quoted"][-1] - exact) < 5 * error
    assert len(panel.series.data["value"]) == 1200
    assert f"exact {exact:.6g}" in panel.note
    assert "flux: " in panel.note
    size = re.search(r"Effective sample size (\d+) of 1200", panel.note)
    assert size
    assert 100 < int(size[1]) < 1200
    assert "autocorrelation time" in panel.trace.title.text


def test_what_is_frozen_is_drawn_apart_and_the_title_says_why(panel):
    panel.controls["sampler"].value = "hmc"
    panel.controls["beta"].value = 12.0
    panel.wait()
    means = {name: np.asarray(column) for name, column in panel.means.data.items()}
    assert np.isnan(means["quoted"]).all()
    assert np.isfinite(means["flagged"]).all()
    assert panel.course.title.text.startswith(
        "Mean square of the charge: not quoted: topology is frozen"
    )
    panel.controls.set(U1)
    panel.wait()


def test_a_chain_that_is_too_short_is_flagged():
    slow = lattice.LatticeParameters(side=32, quartic=4.572, sampler="hmc")
    (first,) = drawn(previewed(slow), 5, 1)
    assert "shorter than 50 autocorrelation times" in first.found["susceptibility"].reason


def test_pieces_of_a_running_chain_are_the_chain_that_is_simulated():
    pieces = drawn(previewed(U1), 5, 2)
    whole = lattice.simulate(U1.replace(n_measurements=800, n_chains=1), seed=5)
    *_, last = pieces
    np.testing.assert_array_equal(last.history, np.rint(whole["charge"][0]))
    expected = lattice.local(whole["field"].isel(chain=0, kept=-1))
    np.testing.assert_array_equal(last.picture, expected)


def test_the_flow_that_ships_for_a_theory_is_named_with_what_its_card_says():
    told = flow_in_words(lattice.LatticeParameters(side=8, quartic=6.008))
    assert told.startswith("The flow phi4-flow-8/")
    assert "effective sample size 0.999" in told
    assert flow_in_words(lattice.LatticeParameters(side=8, quartic=6.0)) == ""
    assert flow_in_words(U1) == ""
    assert flow_in_words(U1.replace(side=16, n_time=16, beta=7.0)).startswith("The flow u1-flow-16/")
    assert flow_in_words(U1.replace(side=16, n_time=16, beta=6.9)) == ""


def test_a_lattice_too_large_to_wait_for_is_drawn_smaller():
    large = lattice.LatticeParameters(theory="su3", n_dimensions=4, side=32, n_time=64)
    assert previewed(large).shape == (4, 4, 4, 4)
    assert previewed(U1).shape == (8, 8)


def test_a_wrong_value_is_refused_and_the_last_chain_stays(panel):
    before = panel.note
    panel.controls["side"].value = 5000
    assert "side = 5000 is outside its range" in panel.controls.refusal
    assert panel.note == before
    panel.controls["side"].value = 8
    panel.wait()


def test_a_sampler_of_another_theory_is_refused_in_words(panel):
    panel.controls["sampler"].value = "cluster"
    assert "u1 has flux, winding, hmc" in panel.controls.refusal
    panel.controls["sampler"].value = "best"
    panel.wait()


def test_what_cannot_be_drawn_is_told(panel, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ValueError("no field")

    monkeypatch.setattr(lattice, "running", broken)
    panel.controls["beta"].value = 3.5
    panel.wait()
    assert panel.note == "Not drawn: no field."


def test_the_same_can_be_run_as_a_batch(panel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert panel.run_as_batch("asked.json").split()[1:3] == ["run", "lattice/1_simulate"]


def test_in_a_run_the_picture_that_it_leaves_has_its_chain(monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_RUN", "here")
    monkeypatch.setattr("twin_panels.panel.display", lambda data, raw: None)
    panel = LatticePanel(n_pieces=1)
    panel._ipython_display_()
    assert len(panel.series.data["n"]) > 0
    assert "Effective sample size" in panel.note or "accepted" in panel.note


def test_the_code_shown_runs_the_same_chain():
    panel = LatticePanel(n_pieces=1)
    panel.wait()
    names: dict = {}
    code = (
        panel.as_code()
        .replace("n_pieces=30", "n_pieces=1")
        .replace("\nfigure_of(", "\nmade = figure_of(")
    )
    exec(code, names)
    assert names["parameters"] == panel.parameters
    assert len(names["chain"].history) == panel.means.data["n"][-1]
    told = names["chain"].found["charge_squared"].text
    assert f"charge squared {told}" in panel.note
    field, course, trace = names["made"]
    shown = panel.image.source.data["image"][0]
    values = np.flipud(field.dimension_values("value", flat=False))
    np.testing.assert_allclose(np.clip(127.5 * (values[::-1] + 1), 0, 255), shown, atol=0.51)
    assert field.opts.get().kwargs["title"] == panel.field.title.text
    ((n, mean),) = course.get(1).array()
    assert (n, mean) == pytest.approx((panel.means.data["n"][-1], panel.means.data["quoted"][-1]))
    exact = panel.means.data["exact"][0]
    assert list(course.get(2).dimension_values(1)) == pytest.approx([exact, exact])
    assert course.opts.get().kwargs["title"] == panel.course.title.text
    history = trace.get(0).dimension_values(1)
    assert (history.min(), history.max()) == (
        panel.series.data["value"].min(),
        panel.series.data["value"].max(),
    )


def test_heights_hold_all_that_is_drawn_and_only_grow_while_a_hand_drags(monkeypatch):
    panel = LatticePanel(U1, n_pieces=2)
    panel.wait()
    slider = panel.controls["beta"].slider

    def heights():
        return [(r.start, r.end) for r in (panel.course.y_range, panel.trace.y_range)]

    def inside():
        panel.wait()
        low, high = heights()[0]
        for name in ("low", "high", "exact"):
            shown = panel.means.data[name]
            shown = shown[np.isfinite(shown)]  # not of each beta is there an exact value
            assert ((shown >= low) & (shown <= high)).all(), name
        low, high = heights()[1]
        return low <= panel.series.data["value"].min() and panel.series.data["value"].max() <= high

    assert inside()
    for position in (0.0, 1.0):  # charges are many at one end, and none at the other
        panel.controls.reset()
        slider.value = position
        assert inside(), position
    panel.controls.reset()
    slider.value = 0.1
    assert inside()
    wide = heights()
    monkeypatch.setattr(panel._history, "_drag_s", np.inf)  # the hand has not let go meanwhile
    slider.value = 0.5
    assert panel.drags
    assert inside()
    assert heights() == wide
    panel.controls["side"].value = 6
    assert inside()
    assert heights()[1] != wide[1]
