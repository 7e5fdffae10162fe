"""Parameters of the labelling of frames."""

from typing import Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field


class LabelParameters(Parameters):
    """What is sought in a stream of spectra, and how it is cut into frames."""

    dm_min_pc_cm3: float = field(40.0, ge=0, le=3000, unit="pc cm-3", help="Lowest DM sought")
    dm_max_pc_cm3: float = field(72.0, ge=0, le=3000, unit="pc cm-3", help="Highest DM sought")
    width_min_ms: float = field(
        0.3,
        ge=0.001,
        le=200,
        unit="ms",
        help="Full width at half maximum of the narrowest pulse sought",
    )
    width_max_ms: float = field(
        5.0, ge=0.001, le=200, unit="ms", help="Full width at half maximum of the widest pulse sought"
    )
    dm_loss: float = field(
        0.05, ge=0.001, le=0.5, folded=True, help="Largest loss of S/N between two DM trials"
    )
    frame_spectra: int = field(
        256, ge=64, le=65536, folded=True, help="Spectra in a frame that gets a label"
    )
    block_frames: int = field(
        128, ge=4, le=4096, folded=True, help="Frames whose level and noise are measured together"
    )

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Self:
        if self.dm_min_pc_cm3 >= self.dm_max_pc_cm3:
            raise ValueError(
                f"dm_min_pc_cm3 = {self.dm_min_pc_cm3:g} pc cm-3 must be below"
                f" dm_max_pc_cm3 = {self.dm_max_pc_cm3:g} pc cm-3"
            )
        return self
