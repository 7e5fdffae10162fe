"""Figures of the lattice twin's samplers and files, each beside an exact or published value."""

import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import xarray as xr
from scipy.signal import lfilter

from _lattice_costs import coarse_to_fine, coupling_layers, gauge_layers
from _lattice_costs import cost_curve as costs_of
from _lattice_critical import critical_coupling
from _lattice_hits import compared
from _lattice_twin import calibration_coverage, monitor_calls, what_if_coverage
from _table import Figure, Skipped, run_benchmarks, share_error, this_machine
from physics_twins import models
from physics_twins.data import bootstrap, find_data_file
from physics_twins.lattice import exact, files
from physics_twins.lattice.errors import Measured, average, measured, sector_changes
from physics_twins.lattice.evaluate import (
    acceptance,
    break_even,
    effective_sample_size,
    forward_sample_size,
)
from physics_twins.lattice.flow.gauge_path import GaugePath
from physics_twins.lattice.flow.regression import draw
from physics_twins.lattice.flow.velocity import Velocity
from physics_twins.lattice.flow_parameters import LINE, FlowParameters
from physics_twins.lattice.infer import infer
from physics_twins.lattice.model import flow_of, load_flow
from physics_twins.lattice.parameters import LatticeParameters, Sampler
from physics_twins.lattice.simulate import simulate
from physics_twins.lattice.train import train

SEED = 51_000
PHI4_SAMPLERS: tuple[Sampler, ...] = ("cluster", "hmc", "metropolis")
# Measurements of each of two chains, for each sampler: a minute each, and what HMC cannot do is told.
N_FLOW = {8: 5000, 16: 3000, 32: 1000, 64: 200}  # fields of each flow
N_PHI4 = {8: 60_000, 16: 30_000, 32: 10_000, 64: 4_000}


@cache
def _chains(**values: Any) -> tuple[xr.Dataset, dict[str, Measured], float]:
    """Return chains, what they say, and the CPU seconds of drawing them, compiling left out."""
    parameters = LatticeParameters(n_kept=0, **values)
    simulate(parameters.replace(n_measurements=10, n_warmup=100, n_chains=1), seed=1)
    start = time.process_time()
    chains = simulate(parameters, seed=SEED)
    seconds = time.process_time() - start
    return chains, measured(chains), seconds


def _phi4(side: int, sampler: Sampler) -> tuple[Measured, float]:
    """Return the susceptibility, and independent fields for each CPU second, warm-up included."""
    values = {"side": side, "quartic": LINE[side], "sampler": sampler, "n_measurements": N_PHI4[side]}
    _, found, seconds = _chains(**values)
    tau = found["susceptibility"].tau.value
    return found["susceptibility"], 2 * N_PHI4[side] / (2 * tau) / seconds


@cache
def _flow(side: int) -> tuple[xr.Dataset, Measured, float]:
    """Return a chain of a flow, its susceptibility, and independent fields per CPU second."""
    flow = load_flow(f"phi4-flow-{side}")
    flow.draw(10, seed=1)
    start = time.process_time()
    chain = infer(flow, N_FLOW[side], seed=SEED + side)
    seconds = time.process_time() - start
    found = measured(chain)["susceptibility"]
    return chain, found, N_FLOW[side] / (2 * found.tau.value) / seconds


def phi4_acceptance_ess() -> Figure:
    """Acceptance, effective sample size of the flow's fields and of the theory's: 8 to 64.

    The reference is what is asked of the first two.
    """
    found = []
    for side, n in N_FLOW.items():
        flow, logs = load_flow(f"phi4-flow-{side}"), _flow(side)[0]["log_weight"].values[0]
        exact_fields = draw(flow.path, 1.0, n, seed=SEED + 100 + side)
        forward = flow.weigh(exact_fields, seed=SEED + 200 + side).numpy()
        for statistic, data in (
            (acceptance, logs),
            (effective_sample_size, logs),
            (forward_sample_size, forward),
        ):
            found.append(bootstrap(statistic, data, seed=SEED))
    return _listed(found, "0.90, 0.97; 0.75, 0.85; 0.50, 0.60")


def samples_per_s() -> Figure:
    """Independent fields per CPU second at 8, 16, 32, 64: cluster, HMC, Metropolis, then the flow.

    0 is a chain that was too short to tell. Errors are those of the autocorrelation time alone: the
    machine's seconds vary, too.
    """
    rates = []
    for side in LINE:
        found = [_phi4(side, sampler) for sampler in PHI4_SAMPLERS]
        found.append(_flow(side)[1:])
        rates += [(0.0, 0.0) if f.reason else (r, _rate_error(f, r)) for f, r in found]
    values, errors = map(list, zip(*rates, strict=True))
    return Figure(values, errors, "1/s", "", this_machine(), (SEED,))


def _rate_error(found: Measured, rate: float) -> float:
    """Return the error of a rate that comes from the autocorrelation time."""
    return rate * found.tau.error / found.tau.value


def flow_break_even() -> Figure:
    """Independent fields after which a flow has cost less than cluster, HMC, Metropolis: 8 to 64.

    Endless where it never does, not a number where the other chain was too short to tell.
    """
    numbers = []
    for side in N_FLOW:
        train_s = models.find(f"phi4-flow-{side}").manifest.metrics["train_cpu_s"].value
        for sampler in PHI4_SAMPLERS:
            found, rate = _phi4(side, sampler)
            numbers.append(np.nan if found.reason else break_even(train_s, _flow(side)[2], rate))
    return Figure(numbers, None, "fields", "inf is never", this_machine(), (SEED,))


def cost_curve() -> Figure:
    """CPU seconds of an independent field at 8, 16, 32, 64, with a table: see `_lattice_costs`."""
    return costs_of(_phi4)


def coarse_to_fine_8() -> Figure:
    """Flows from coarse fields at 8 x 8, with a table: see `_lattice_costs`."""
    return coarse_to_fine(8)


def coarse_to_fine_16() -> Figure:
    """The same at 16 x 16."""
    return coarse_to_fine(16)


def phi4_agreement() -> Figure:
    """Largest distance of a sampler's or flow's susceptibility from the cluster's, in sigma."""
    far = []
    for side in LINE:
        found = [_phi4(side, sampler)[0] for sampler in PHI4_SAMPLERS]
        found.append(_flow(side)[1])
        truth = found[0].estimate
        others = (f.estimate for f in found[1:] if not f.reason)
        far += [abs(e.value - truth.value) / np.hypot(e.error, truth.error) for e in others]
    return Figure(float(max(far)), None, "sigma", 3.0, this_machine(), (SEED,))


def cluster_rate_64() -> Figure:
    """Independent fields per CPU second by the cluster at 64 x 64, one core."""
    found, rate = _phi4(64, "cluster")
    return Figure(rate, _rate_error(found, rate), "1/s", 386.0, this_machine(), (SEED,))


def _listed(estimates: list[tuple[float, float]], reference: str) -> Figure:
    values, errors = map(list, zip(*estimates, strict=True))
    return Figure(values, errors, "", reference, this_machine(), (SEED,))


def _u1_beta7(sampler: Sampler) -> tuple[list[tuple[float, float]], int, float]:
    """Return plaquette and mean square charge with errors, the sector changes, and the CPU seconds."""
    values = {"theory": "u1", "side": 16, "beta": 7.0, "n_measurements": 30_000}
    chains, found, seconds = _chains(sampler=sampler, **values)
    taken = [found[name].estimate for name in ("plaquette", "charge_squared")]
    return [(e.value, e.error) for e in taken], int(sector_changes(chains).sum()), seconds


_EXACT_U1 = f"{exact.plaquette('u1', 7.0, 256):.6f}, {exact.charge_squared(7.0, 256):.4f}"


def _gain(sampler: Sampler) -> Figure:
    """Return plaquette, mean square charge, and the gain over HMC in sector changes per CPU second."""
    found, changes, seconds = _u1_beta7(sampler)
    _, few, hmc_seconds = _u1_beta7("hmc")
    few = max(few, 1)
    gain = (changes / seconds) / (few / hmc_seconds)
    return _listed([*found, (gain, gain / np.sqrt(few))], f"{_EXACT_U1}, 100")


def u1_beta7() -> Figure:
    """HMC with flux steps for U(1), 16 x 16, beta 7: plaquette, mean square charge, gain over HMC.

    The gain is in sector changes for each CPU second; its reference is 100.
    """
    return _gain("flux")


def u1_beta7_winding() -> Figure:
    """The same of winding HMC as it was published."""
    return _gain("winding")


def u1_beta7_flow() -> Figure:
    """The same of a flow of gauge fields whose fields are accepted or refused, training left out.

    It begins at heat-kernel fields, whose charges are drawn at once: easy in two dimensions.
    """
    flow = load_flow("u1-flow-16")
    flow.draw(10, seed=1)
    start = time.process_time()
    chain = infer(flow, 5000, seed=SEED)
    seconds = time.process_time() - start
    told, (_, few, hmc_seconds) = measured(chain), _u1_beta7("hmc")
    estimates = [told[name].estimate for name in ("plaquette", "charge_squared")]
    gain = int(sector_changes(chain).sum()) / seconds * hmc_seconds / max(few, 1)
    found = [*((e.value, e.error) for e in estimates), (gain, gain / np.sqrt(max(few, 1)))]
    return _listed(found, f"{_EXACT_U1}, 100")


def gauge_flows() -> Figure:
    """Acceptance, effective sample sizes from both sides, mean weight: U(1), SU(2), SU(3).

    U(1) at 16 x 16 and beta 7, SU(2) and SU(3) at 8 x 8 and beta 2.2 and 6. The mean weight is 1 if
    the flow draws all that there is: both integrals are known exactly.
    """
    found = []
    for name, n in {"u1-flow-16": 4000, "su2-flow-8": 1000, "su3-flow-8": 500}.items():
        flow = load_flow(name)
        if not isinstance(flow.path, GaugePath):
            raise TypeError(f"{name} is no flow of gauge fields")
        links, densities = flow.draw(n, seed=SEED)
        logs = flow.log_weights(links, densities).numpy() - flow.path.log_z
        truth = draw(flow.path, 1.0, n, seed=SEED + 1)
        forward = flow.log_weights(truth, flow.log_density(truth)).numpy()
        found += [
            bootstrap(statistic, logs, seed=SEED) for statistic in (acceptance, effective_sample_size)
        ]
        found.append(bootstrap(forward_sample_size, forward, seed=SEED))
        found.append((float(np.exp(logs).mean()), float(np.exp(logs).std() / np.sqrt(n))))
    return _listed(found, "1")


def training_seeds() -> Figure:
    """Acceptance and effective sample size at 8 x 8 of three trainings; then their CPU seconds."""
    settings, found, seconds = FlowParameters(preset="8"), [], []
    for seed in (1, 2, 3):
        start = time.process_time()
        trained = train(None, settings, seed=seed, progress=False)
        seconds.append((time.process_time() - start, 0.0))
        flow = flow_of(cast(Velocity, trained.modules["velocity"]), n_steps=settings.chosen.n_steps)
        logs = flow.log_weights(*flow.draw(4000, seed=SEED + seed)).numpy()
        found += [
            bootstrap(statistic, logs, seed=SEED) for statistic in (acceptance, effective_sample_size)
        ]
    values, errors = map(list, zip(*found, *seconds, strict=True))
    return Figure(values, errors, "", "", this_machine(), (1, 2, 3))


def u1_beta7_hmc() -> Figure:
    """The same of HMC: what it says, with the errors that it claims. The twin does not quote it."""
    return _listed(_u1_beta7("hmc")[0], _EXACT_U1)


def sun_2d() -> Figure:
    """Plaquettes in 2D by heat bath, 8 x 8: SU(2) at beta 2.2, SU(3) at 3, 6 and 9."""
    asked, found = [("su2", 2.2), ("su3", 3.0), ("su3", 6.0), ("su3", 9.0)], []
    for theory, beta in asked:
        values = {"theory": theory, "beta": beta, "n_measurements": 4000, "n_overrelaxations": 2}
        estimate = _chains(side=8, **values)[1]["plaquette"].estimate
        found.append((estimate.value, estimate.error))
    return _listed(found, ", ".join(f"{exact.plaquette(*each, 64):.6f}" for each in asked))


_SIZE = {"theory": "su3", "n_dimensions": 4, "side": 8, "beta": 6.0}
_WARM_SU3: dict[str, Any] = _SIZE | {"n_warmup": 100, "n_measurements": 200}


def su3_4d_plaquette() -> Figure:
    """The plaquette of SU(3) at beta 6 by heat bath with overrelaxation: 8^4 sites, then 12^4.

    The reference is that of large lattices; a small one has more.
    """
    larger = _SIZE | {"side": 12, "n_warmup": 120, "n_measurements": 60}
    found = [_chains(**values)[1]["plaquette"] for values in (_WARM_SU3, larger)]
    if any(each.reason for each in found):
        raise RuntimeError(", ".join(each.text for each in found))
    return _listed([(each.estimate.value, each.estimate.error) for each in found], "0.5937")


def su3_4d_sweeps() -> Figure:
    """Sweeps of all links per CPU second in it, measurements included; then independent plaquettes.

    The reference is sweeps of Metropolis with ten hits.
    """
    _, found, seconds = _chains(**_WARM_SU3)
    n_updates = 2 * (_WARM_SU3["n_warmup"] + _WARM_SU3["n_measurements"])
    rates = [5 * n_updates / seconds, n_updates / seconds / (2 * found["plaquette"].tau.value)]
    return Figure(rates, None, "1/s", 23.5, this_machine(), (SEED,))


def su3_4d_autocorrelation() -> Figure:
    """Heat bath with four overrelaxations against Metropolis with ten hits, at 8^4 and beta 6.

    Of each, sweeps for each CPU second, then the autocorrelation times of plaquette and 2 x 2 loop in
    CPU seconds; last by which factor those of ten hits are longer.
    """
    return _listed(compared(120, 5, SEED + 1000), "3")


def error_coverage() -> Figure:
    """How often 68 % intervals hold the truth, in per cent: 1000 AR(1) chains, 200 chains of phi4."""
    noise = np.random.default_rng(SEED).normal(size=(1000, 5000))
    auto = np.asarray(lfilter([1.0], [1.0, -0.9], noise, axis=1))[:, 1000:]
    of_auto = np.mean([average(each).estimate.covers(0.0) for each in auto])
    parameters = LatticeParameters(side=8, quartic=6.008, n_measurements=2000, n_chains=200, n_kept=0)
    powers = 64 * simulate(parameters, seed=SEED + 1)["magnetisation"].values ** 2
    truth = _phi4(8, "cluster")[0].estimate.value
    of_phi4 = np.mean([average(each).estimate.covers(truth) for each in powers])
    shares = [float(of_auto), float(of_phi4)]
    errors = [100 * share_error(share, n) for share, n in zip(shares, (1000, 200), strict=True)]
    return Figure([100 * share for share in shares], errors, "%", 68.3, this_machine(), (SEED,))


def _file(name: str) -> Path:
    path = find_data_file(f"lattice/{name}")
    if path is None:
        raise Skipped(f"there is no lattice/{name}: set PHYSICS_TWINS_DATA")
    return path


def milc_l8888() -> Figure:
    """How many of the six numbers of the sample's info file come out to all printed digits."""
    path = _file("lat.sample.l8888")
    lines = path.with_name(f"{path.name}.info").read_text().splitlines()
    facts, read = dict(line.split(" = ") for line in lines), files.read(path)
    links = (
        read["field"].transpose("t", "z", "y", "x", "direction", ...).values[..., [1, 2, 3, 0], :, :, :]
    )
    # NERSC's sum of all words but those of the last row.
    words = np.ascontiguousarray(links[..., :2, :, :], dtype=np.float32).view(np.uint32)
    hits = [
        f'"{" ".join(read["found"].values)}"' == facts["checksums"],
        f"{3 * float(read['plaquette_space']):.6f}" == facts["gauge.ssplaq"],
        f"{3 * float(read['plaquette_time']):.6f}" == facts["gauge.stplaq"],
        f"{float(read['link_trace']):.6f}" == facts["gauge.nersc_linktr"],
        str(int(words.sum(dtype=np.uint64)) % 2**32) == facts["gauge.nersc_checksum"],
        [read.sizes[d] for d in "xyzt"] == [int(facts[f"n{d}"]) for d in "xyzt"],
    ]
    return Figure(sum(hits), None, "", 6)


def three_formats() -> Figure:
    """The plaquette of one field in three formats; broken where links or checksums differ."""
    read = [files.read(_file(f"lat.sample.l4444{end}")) for end in ("", ".scidac", ".ildg")]
    if not all((each["field"] == read[0]["field"]).all() for each in read):
        raise RuntimeError("the links differ")
    if [list(each["found"].values) for each in read[1:]] != [["37affb9c", "2fc07bbf"]] * 2:
        raise RuntimeError("the checksums differ")
    return Figure([float(each["plaquette"]) for each in read], None, "", 0.594850)


def more_files() -> Figure:
    """Plaquettes of two NERSC files, and of two bare ILDG files that are read only when forced."""
    whole = [files.read(_file(name)) for name in ("nersc.l8t4b3360", "t_nersc.cfg")]
    bare = ["hmc_beta5.7_su2.ildg", "hmc_beta5.7_su3.ildg", "lat.sample.l4448.foreign"]
    for name in bare:
        try:
            files.read(_file(name))
        except files.ConfigurationError:
            continue
        raise RuntimeError(f"{name} was not refused")
    found = [*whole, *(files.read(_file(name), forced=True) for name in bare[:2])]
    reference = "0.5038664469, 0.0382422893, 0.476138111, 0.568215750"
    return Figure([float(each["plaquette"]) for each in found], None, "", reference)


def corruptions_detected() -> Figure:
    """Of 1000 files with one bit of the links or of a checksum flipped, how many are refused."""
    rng, n_refused = np.random.default_rng(SEED), 0
    names = ["lat.sample.l4444", "lat.sample.l4444.scidac", "lat.sample.l4444.ildg", "t_nersc.cfg"]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "damaged"
        for number in range(1000):
            raw = bytearray(_file(names[number % 4]).read_bytes())
            start = {0: 88, 1: 1230, 2: 2330, 3: len(raw) - 49152}[number % 4]
            end = {1: 74_950, 2: 76_050}.get(number % 4, len(raw))
            raw[int(rng.integers(start, end))] ^= 1 << int(rng.integers(8))
            place.write_bytes(raw)
            try:
                files.read(place)
            except files.ConfigurationError:
                n_refused += 1
    return Figure(n_refused, None, "", 1000, "cpu", (SEED,))


def read_mb_per_s() -> Figure:
    """Megabytes of files for each CPU second of reading and verifying: MILC 8^4, NERSC 8^3 x 4."""
    rates = []
    for name in ("lat.sample.l8888", "nersc.l8t4b3360"):
        path = _file(name)
        files.read(path)
        start = time.process_time()
        for _ in range(20):
            files.read(path)
        rates.append(20 * path.stat().st_size / 1e6 / (time.process_time() - start))
    return Figure(rates, None, "MB/s", 150.0, this_machine())


if __name__ == "__main__":
    torch.set_num_threads(1)  # as the classical samplers, which have one
    simulated = [
        phi4_acceptance_ess,
        samples_per_s,
        flow_break_even,
        cost_curve,
        coarse_to_fine_8,
        coarse_to_fine_16,
        coupling_layers,
        gauge_layers,
        phi4_agreement,
        cluster_rate_64,
        u1_beta7,
        u1_beta7_winding,
        u1_beta7_flow,
        gauge_flows,
        training_seeds,
    ]
    simulated += [u1_beta7_hmc, sun_2d, su3_4d_plaquette, su3_4d_sweeps, su3_4d_autocorrelation]
    simulated += [error_coverage]
    simulated += [critical_coupling, calibration_coverage, what_if_coverage, monitor_calls]
    of_files = [milc_l8888, three_formats, more_files, corruptions_detected, read_mb_per_s]
    sys.exit(bool(run_benchmarks({figure.__name__: figure for figure in simulated + of_files})))
