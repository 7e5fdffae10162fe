"""The lattice's notebook, run headless: its results, not only that it runs."""

import numpy as np
import pytest

from physics_twins import runs
from physics_twins.lattice import exact, files
from physics_twins.lattice.evaluate import effective_sample_size
from physics_twins.lattice.infer import infer
from physics_twins.lattice.model import load_flow
from physics_twins.lattice.parameters import LatticeParameters
from physics_twins.lattice.pictures import local, picture
from physics_twins.lattice.simulate import simulate
from physics_twins.parameters import ParameterError
from physics_twins.twin import TwinState


@pytest.mark.slow
def test_simulate_quotes_the_right_charge_and_not_the_frozen_one(tmp_path):
    run = runs.run("lattice/1_simulate", {"n_measurements": 3000}, out=tmp_path / "run")
    assert run.status == "complete"
    assert (run.metrics["hmc_quoted"], run.metrics["best_quoted"]) == (0, 2)
    assert abs(run.metrics["sigma_charge_squared"]) < 5
    assert run.metrics["charge_squared"]["value"] == pytest.approx(1.0064, abs=0.25)
    assert files.read(run.folder / "su3.ildg")["passed"].all()


@pytest.mark.slow
def test_train_saves_a_flow_whose_fields_are_nearly_all_left(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_MODELS", str(tmp_path / "models"))
    run = runs.run("lattice/2_train", {}, out=tmp_path / "run")
    assert run.metrics["ess_free"] < 0.1 < 0.98 < run.metrics["ess"]
    flow = load_flow("phi4-flow-8/2")  # the name alone is the shipped one
    told = infer(flow, 500, seed=3)
    assert effective_sample_size(told["log_weight"].values[0]) > 0.98
    assert float(told["acceptance"][0]) > 0.9


@pytest.mark.slow
def test_evaluate_holds_the_shipped_flow_to_the_limit_and_prints_what_it_loses(tmp_path):
    run = runs.run("lattice/3_evaluate", {"sides": "8", "n_drawn": 500}, out=tmp_path / "run")
    assert run.metrics["ess"]["value"] > 0.99
    assert run.metrics["ess_forward"]["value"] > 0.98
    assert run.metrics["never"] >= 1  # the cluster, whatever the machine


@pytest.mark.slow
def test_infer_refuses_the_damaged_file_and_finds_beta_of_the_whole_one(tmp_path):
    run = runs.run("lattice/4_infer", {"n_measurements": 200}, out=tmp_path / "run")
    assert run.status == "complete"
    beta = run.metrics["beta"]
    assert abs(beta["value"] - 6.0) < 5 * beta["error"] < 1.0
    assert (run.metrics["n_checks"], run.metrics["damage_refused"]) == (3, 1)


def test_a_file_that_is_not_there_is_refused_before_a_kernel_starts(tmp_path):
    with pytest.raises(ParameterError, match="configuration_path"):
        runs.run("lattice/4_infer", {"configuration_path": "nothing.lime"}, out=tmp_path / "run")


@pytest.mark.slow
def test_twin_finds_the_couplings_and_calls_the_one_that_changed(tmp_path):
    run = runs.run(
        "lattice/5_twin", {"side": 8, "quartic": 6.008, "changed_by": 0.04}, out=tmp_path / "run"
    )
    assert run.status == "complete"
    for name, truth in {"mass2": -4.0, "quartic": 6.008}.items():
        found = run.metrics[name]
        assert abs(found["value"] - truth) < 5 * found["error"]
        assert run.metrics[f"better_{name}"]["error"] < found["error"]
    assert (run.metrics["n_false"], run.metrics["alarm"]) == (0, 1)
    state = TwinState.load(run.folder / "state.json")
    assert "quartic" in state.history[-1].reason


def test_the_picture_of_u1_shows_flux_that_adds_up_to_the_charge():
    parameters = LatticeParameters(theory="u1", side=8, beta=2.0, n_measurements=10, n_warmup=100)
    chains = simulate(parameters, seed=3)
    flux = local(chains["field"].isel(chain=1, kept=-1))
    assert float(flux.sum()) == pytest.approx(float(chains["charge"][1, -1]), abs=1e-9)
    assert picture(chains, 1).opts.get("plot").kwargs["title"] == "Flux through plaquettes"


def test_the_picture_of_sun_shows_the_plaquettes_that_were_measured():
    parameters = LatticeParameters(theory="su2", side=4, n_measurements=10, n_warmup=100)
    chains = simulate(parameters, seed=3)
    shown = local(chains["field"].isel(chain=0, kept=-1))
    assert float(shown.mean()) == pytest.approx(float(chains["plaquette"][0, -1]))


def test_exact_values_are_known_where_the_theory_is_solved():
    known = exact.known(LatticeParameters(theory="u1", side=16, beta=7.0))
    np.testing.assert_allclose([*known.values()], [0.925532, 1.0064], rtol=1e-4)
    assert list(known) == ["plaquette", "charge_squared"]
    assert list(exact.known(LatticeParameters(theory="su3", n_c_directions=1))) == ["plaquette"]
    assert list(exact.known(LatticeParameters(quartic=0.0, mass2=1.0))) == ["phi2", "susceptibility"]
    assert (
        exact.known(LatticeParameters())
        == exact.known(LatticeParameters(theory="su3", n_dimensions=4))
        == {}
    )
