"""Parameters of openQ*D's program `ym1`: SU(3) gauge fields by HMC, periodic or C* in space."""

import re
from typing import Literal, Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field


class OpenQxDParameters(Parameters):
    """One run of openQ*D's `ym1`; the lattice itself is compiled into the program."""

    name: str = field("run", help="Name of the run, with which all of its files begin")
    binary: str = field("ym1", folded=True, help="The program, as the shell finds it")
    n_processes: int = field(1, ge=1, le=100_000, help="Processes that it was compiled for")
    time_boundary: Literal["periodic", "open"] = field("periodic", help="Boundary in time")
    n_cstar: int = field(0, ge=0, le=3, help="Directions of space in which boundaries are C*")
    beta: float = field(6.0, ge=0, le=100, help="Inverse coupling")
    c0: float = field(1.0, ge=0.01, le=10, folded=True, help="Coefficient of plaquettes; 1 is Wilson's")
    c_boundary: float = field(
        1.0, ge=0.01, le=10, folded=True, help="Coefficient of plaquettes at an open boundary"
    )
    ranlux_level: int = field(0, ge=0, le=1, folded=True, help="Level of the random generator")
    ranlux_seed: int = field(73099, ge=1, le=2**31 - 1, folded=True, help="Its seed")
    trajectory_length: float = field(2.0, ge=0.01, le=100, help="Length of a trajectory")
    integrator: Literal["LPFR", "OMF2", "OMF4"] = field(
        "OMF4", folded=True, help="Leapfrog, or Omelyan's integrators of second and fourth order"
    )
    omf2_lambda: float = field(0.19, ge=0, le=1, folded=True, help="OMF2: its parameter")
    n_steps: int = field(10, ge=1, le=10_000, help="Steps of a trajectory")
    n_thermal: int = field(320, ge=0, le=10**8, help="Trajectories before anything is kept")
    n_trajectories: int = field(3200, ge=1, le=10**8, logarithmic=True, help="Trajectories in all")
    log_every: int = field(4, ge=1, le=10**6, folded=True, help="Trajectories between log entries")
    measure_every: int = field(8, ge=1, le=10**6, folded=True, help="And between measurements")
    keep_every: int = field(32, ge=1, le=10**6, folded=True, help="And between configurations")
    flow_integrator: Literal["EULER", "RK2", "RK3"] = field("RK3", folded=True, help="Of the flow")
    flow_step: float = field(0.02, ge=1e-4, le=1, folded=True, help="Step of the flow's time")
    n_flow_steps: int = field(100, ge=1, le=10**6, folded=True, help="Steps of the flow")
    flow_every: int = field(10, ge=1, le=10**6, folded=True, help="Steps between its measurements")

    @model_validator(mode="after")
    def _is_taken_by_the_program(self) -> Self:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", self.name):
            raise ValueError(f"name = {self.name!r} must be up to 40 letters, digits, _, . and -")
        if not re.fullmatch(r"[A-Za-z0-9_./+-]{1,100}", self.binary):
            raise ValueError(f"binary = {self.binary!r} must be a path without spaces or signs")
        multiples = [
            ("n_thermal", "keep_every"),
            ("n_trajectories", "keep_every"),
            ("keep_every", "measure_every"),
            ("measure_every", "log_every"),
            ("n_flow_steps", "flow_every"),
        ]
        for name, unit in multiples:
            if getattr(self, name) % getattr(self, unit):
                raise ValueError(
                    f"{name} = {getattr(self, name)} must be a multiple of {unit} ="
                    f" {getattr(self, unit)}"
                )
        if self.n_thermal > self.n_trajectories:
            raise ValueError(
                f"n_thermal = {self.n_thermal} is more than n_trajectories = {self.n_trajectories}"
            )
        return self
