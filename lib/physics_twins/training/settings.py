"""Settings that every training shares; apart, so that a wrong one is refused without loading torch."""

from typing import Literal

from physics_twins.parameters import Parameters, field

# Settings that say where and how it runs, and not what comes out of it.
HOW = ("accelerator", "strategy", "checkpoint_s")


class TrainingSettings(Parameters):
    """How long and where a model is trained; what it learns is the twin's own."""

    max_steps: int = field(1000, ge=1, le=10**9, unit="steps", help="Steps after which it ends")
    batch_size: int = field(
        128, ge=1, le=10**7, logarithmic=True, help="Examples per step, on all devices together"
    )
    clip_norm: float = field(
        0.0, ge=0, le=1e6, help="Longest gradient of an objective, longer ones are cut; 0 cuts none"
    )
    ema_decay: float = field(
        0.0, ge=0, le=0.999999, help="Memory of the mean of past weights, short at first; 0 is none"
    )
    validate_every: int = field(100, ge=1, le=10**9, unit="steps", help="Steps between validations")
    patience: int = field(
        0, ge=0, le=10**6, help="Validations without a better figure before it ends; 0 never ends it"
    )
    checkpoint_s: float = field(
        60.0, ge=0, le=86400, unit="s", folded=True, help="Time between checkpoints; 0 is each step"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = field(
        "32-true", folded=True, help="Numbers that products of matrices are computed in"
    )
    accelerator: Literal["auto", "cpu", "gpu"] = field(
        "auto", folded=True, help="Where it computes; auto takes a GPU where there is one"
    )
    devices: int = field(1, ge=1, le=64, folded=True, help="GPUs, or processes on a CPU")
    strategy: Literal["auto", "ddp", "ddp_spawn", "ddp_fork"] = field(
        "auto", folded=True, help="How processes of several devices are started"
    )
    cpu_threads: int = field(
        0, ge=0, le=1024, folded=True, help="Threads on a CPU; last bits depend on it; 0 is any"
    )
