"""How far the lattice twin's verbs can be believed: coverage of calibrations, calls of the monitor.

Thresholds were chosen on seeds below 60,000; these are others.
"""

import numpy as np

from _table import Figure, share_error, this_machine
from physics_twins import twin
from physics_twins.lattice import whatif
from physics_twins.lattice.calibrate import calibrate, couplings, identity
from physics_twins.lattice.monitor import Monitor
from physics_twins.lattice.parameters import LatticeParameters
from physics_twins.lattice.simulate import simulate
from physics_twins.lattice.twin_parameters import MonitorParameters

SEED = 61_000
PHI4 = LatticeParameters(side=8, quartic=6.008, n_measurements=4000, n_kept=0)
U1 = LatticeParameters(theory="u1", side=8, beta=3.0, n_measurements=2000, n_kept=0)
N_CALIBRATIONS = 60
N_WATCHED = 24
BATCH, N_MEASUREMENTS = 500, 20_000
OFF = 0.97


def calibration_coverage(n: int = N_CALIBRATIONS, seed: int = SEED) -> Figure:
    """How often 68 % intervals hold the couplings, in per cent: mass2, quartic; beta of U(1)."""
    held = []
    for truth in (PHI4, U1):
        names = couplings(truth)
        start = truth.replace(**{name: OFF * getattr(truth, name) for name in names})
        hits = []
        for number in range(n):
            reference = simulate(truth, seed=seed + 2000 * number)
            found = calibrate(reference, start=start, seed=seed + 2000 * number + 1000).parameters
            hits.append([found[name].covers(getattr(truth, name)) for name in names])
        held += list(np.mean(hits, axis=0))
    errors = [100 * share_error(float(share), n) for share in held]
    return Figure([100 * float(s) for s in held], errors, "%", 68.3, this_machine(), (seed,))


def what_if_coverage(n: int = 178, seed: int = 8_000_000) -> Figure:
    """How often 68 % intervals hold the truth, in per cent: of the difference that a coupling makes.

    Of phi^4 with 2 % more quartic coupling: susceptibility, correlation length, mean square; truth from
    two chains 250 times as long. Then the error of the difference over that of independent fields.
    """
    long = PHI4.replace(n_measurements=1_000_000)
    more = {"stronger": lambda p: p.replace(quartic=1.02 * p.quartic)}
    exact = twin.Calibration(
        "lattice",
        {"mass2": twin_value(PHI4.mass2), "quartic": twin_value(PHI4.quartic)},
        twin.correlated([], np.zeros((0, 0))),
        simulate(PHI4.replace(n_measurements=10), seed=1)[[]],
        {},
        {},
        "exact",
    ).state("exact")
    truth = whatif.what_if(exact, more, start=long, seed=seed - 1)["difference"].sel(
        scenario="stronger"
    )
    hits, gains = [], []
    for number in range(n):
        reference = simulate(PHI4, seed=seed + 2000 * number)
        state = calibrate(reference, start=PHI4, seed=seed + 2000 * number + 1000).state("reference")
        found = whatif.what_if(state, more, start=PHI4, seed=seed + 2000 * number + 1500)
        one = found.sel(scenario="stronger")
        hits.append(abs(one["difference"] - truth).values < one["difference_error"].values)
        apart = np.sqrt((found["error_parts"].sel(part="events") ** 2).sum("scenario"))
        gains.append((one["difference_parts"].sel(part="events") / apart).values)
    shares = [float(each) for each in np.mean(hits, axis=0)]
    errors = [100 * share_error(share, n) for share in shares] + [0.0] * 3
    gain = [float(each) for each in np.mean(gains, axis=0)]
    return Figure([100 * s for s in shares] + gain, errors, "%, 1", "68.3, 1", this_machine(), (seed,))


def twin_value(value: float) -> "twin.state.Estimate":
    """Return a value that is known exactly."""
    from physics_twins.data import Estimate

    return Estimate.of(value)


def monitor_calls(n: int = N_WATCHED, seed: int = SEED + 600_000) -> Figure:
    """Alarms among quiet batches, which should be none; then which part of other streams was called.

    And with the right name: mass2 and quartic of phi^4 3 % off, beta of U(1), each of `n` streams; last
    the median number of batches to a call.
    """
    false, batches, called, right, delays = 0, 0, [], [], []
    settings = MonitorParameters(batch=BATCH)
    for short in (PHI4, U1):
        truth = short.replace(n_measurements=N_MEASUREMENTS)
        names = couplings(truth)
        found = {name: [0, 0] for name in names}
        for number in range(n):
            first = seed + 5000 * number
            reference = simulate(truth, seed=first)
            state = calibrate(reference, start=truth, seed=first + 1000).state(identity(reference))
            quiet = Monitor(state, start=truth, settings=settings, seed=first + 2000)
            batches += quiet.watch(simulate(truth, seed=first + 3000)).sizes["frame"]
            false += len(quiet.alarms)
            for place, name in enumerate(names):
                monitor = Monitor(state, start=truth, settings=settings, seed=first + 2000)
                other = truth.replace(**{name: 1.03 * getattr(truth, name)})
                monitor.watch(simulate(other, seed=first + 4000 + place), stop_at_alarm=True)
                if monitor.alarms:
                    found[name][0] += 1
                    found[name][1] += monitor.alarms[0].parameter == name
                    delays.append(monitor.alarms[0].frame + 1)
        called += [each[0] / n for each in found.values()]
        right += [each[1] / n for each in found.values()]
    values = [float(false), float(batches), *called, *right, float(np.median(delays))]
    reference = "0 alarms, batches; called mass2, quartic, beta; named right; batches to call"
    return Figure(values, None, "", reference, this_machine(), (seed,))
