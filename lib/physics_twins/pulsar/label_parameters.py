"""Parameters of the labelling of frames."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field

FRAME_STEP = 16  # spectra that level and noise are measured over together
# A pulse that crosses the band in less than so many of its widths is not told from interference.
LEAST_SWEEP_WIDTHS = 2.5
# A pulse is not sought beyond the DM at which it takes so long.
LONGEST_SWEEP_S = 10.0
HIGHEST_DM_PC_CM3 = 3000.0
DM_RANGE = ("dm_min_pc_cm3", "dm_max_pc_cm3")


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
        5.0, ge=0.001, le=1000, unit="ms", help="Full width at half maximum of the widest pulse sought"
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
        if self.width_min_ms > self.width_max_ms:
            raise ValueError(
                f"width_min_ms = {self.width_min_ms:g} ms must not be above"
                f" width_max_ms = {self.width_max_ms:g} ms"
            )
        if self.frame_spectra % FRAME_STEP:
            raise ValueError(f"frame_spectra = {self.frame_spectra} must be a multiple of {FRAME_STEP}")
        return self


def sought_by(search: Mapping[str, Any] | Parameters) -> LabelParameters:
    """Return what a labelling seeks that goes with a search: its DMs, widths and frames.

    Args:
        search: `SearchParameters`, or values by name among which are those.

    Raises:
        ParameterError: A labelling cannot seek that.
    """
    values = search.to_papermill() if isinstance(search, Parameters) else dict(search)
    narrowest = LabelParameters.describe()["width_min_ms"].default
    widest = values.get("width_max_ms", narrowest)
    return LabelParameters.take({"width_min_ms": min(narrowest, widest), **values})


def sought_in_band(
    values: Mapping[str, Any], *, sampling_s: float, delay_s_per_dm: float
) -> LabelParameters:
    """Return what is sought where no DM is named: all that a band tells from interference.

    Args:
        values: Parameters by name; an end of the DM range that is missing is taken from the band.
        sampling_s: Time from one spectrum to the next.
        delay_s_per_dm: Delay across the band for a DM of 1 pc cm-3.

    Raises:
        ParameterError: A value is refused, or no DM is left.
    """
    narrowest_ms = values.get("width_min_ms", LabelParameters.describe()["width_min_ms"].default)
    narrowest_s = max(1e-3 * narrowest_ms, sampling_s)
    lowest = LEAST_SWEEP_WIDTHS * narrowest_s / delay_s_per_dm
    highest = min(HIGHEST_DM_PC_CM3, LONGEST_SWEEP_S / delay_s_per_dm)
    lowest = min(float(f"{lowest:.2g}"), 0.5 * highest)
    ends: dict[str, Any] = dict(zip(DM_RANGE, (lowest, float(f"{highest:.3g}")), strict=True))
    return LabelParameters(**(ends | dict(values)))
