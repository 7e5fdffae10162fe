"""What a cleaned second of strain is worth: a record for machines, and in words."""

import hashlib
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from physics_twins import __version__
from physics_twins.virgo.cleaning import Wiener

Share = Annotated[float, Field(allow_inf_nan=False, le=1)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", protected_namespaces=())


class Band(_Record):
    """What became of a band of frequencies.

    Attributes:
        low_hz: Its lower edge.
        high_hz: Its upper edge.
        removed: Which part of the strain's power went, over the noise that the filters left when they
            were fitted; negative where the second became louder.
        allowed: Which part the witnesses explained when the filters were fitted.
        guarded: Whether the guard left some of it as it was.
    """

    low_hz: float
    high_hz: float
    removed: Share
    allowed: Share
    guarded: bool


class Cause(_Record):
    """What one input did.

    Attributes:
        input: Its name: a channel, a product, the `fringe` of a bench.
        share: Its part of the power that all inputs subtracted, by themselves.
        gain: Its filter is multiplied with it; 1 as fitted.
        gain_error: Standard deviation of the gain.
        late_ms: By how much its channel comes late.
        present: Whether its channels recorded data.
    """

    input: str
    share: float
    gain: float
    gain_error: float
    late_ms: float
    present: bool


class Vetoed(_Record):
    """A part of the second that may hold a glitch which a channel has seen.

    Attributes:
        start_s: Since the second began.
        stop_s: Likewise.
        probability: That it is one.
        channel: Which has seen it.
    """

    start_s: float
    stop_s: float
    probability: float
    channel: str


class Certificate(_Record):
    """Of one second of cleaned strain.

    Attributes:
        gps_start_s: Of the second.
        duration_s: Its length.
        bands: From low to high frequencies.
        causes: One for each input.
        fringe_calibration: True over recorded motion of the bench; None without one.
        signal_loss: What a signal loses of its S/N, at most, and in how many injections of a hundred
            that was so; None where nobody has measured it.
        unsafe_channels: Channels that carry strain, and were not used.
        vetoed: Parts that may hold a witnessed glitch; None where nobody decides, as at the start.
        held: Whether nothing was learnt or decided from this second, as is wanted of a signal's.
        actions: What the guard and the search for jumps did in this second, in words.
        filters: SHA-256 of the filters.
        model: Name and version of what told the filters; "" for least squares.
        code: Version of the program.
    """

    format: Literal[1] = 1
    gps_start_s: float
    duration_s: float
    bands: tuple[Band, ...]
    causes: tuple[Cause, ...]
    fringe_calibration: float | None
    signal_loss: tuple[float, float] | None
    unsafe_channels: tuple[str, ...]
    vetoed: tuple[Vetoed, ...] | None = None
    held: bool = False
    actions: tuple[str, ...]
    filters: str
    model: str = ""
    code: str = f"physics-twins {__version__}"

    @property
    def vetoed_s(self) -> float:
        """How much of the second is vetoed, s."""
        edges = sorted((v.start_s, v.stop_s) for v in self.vetoed or ())
        total_s, until_s = 0.0, 0.0
        for start_s, stop_s in edges:  # two channels may see one glitch
            total_s += max(0.0, stop_s - max(start_s, until_s))
            until_s = max(until_s, stop_s)
        return total_s

    def in_words(self) -> str:
        """Return what a scientist wants to know first, a few sentences."""
        coupled = [band for band in self.bands if band.allowed > 0.5] or self.bands
        worst = min(coupled, key=lambda band: band.removed - band.allowed)
        loudest = sorted(self.causes, key=lambda cause: -cause.share)[:3]
        said = [
            f"GPS {self.gps_start_s:.0f}: least removed of what is possible at"
            f" {worst.low_hz:g} to {worst.high_hz:g} Hz, {worst.removed:.0%} of {worst.allowed:.0%}.",
            "Loudest: "
            + ", ".join(
                f"{c.input} ({c.share:.0%}, gain {c.gain:.2f} ± {c.gain_error:.2f})" for c in loudest
            )
            + ".",
        ]
        if self.signal_loss:
            most, percent = self.signal_loss
            said.append(f"{percent:g} of 100 injected signals lost at most {most:.1%} of their S/N.")
        if self.unsafe_channels:
            said.append(f"Not used, they carry strain: {', '.join(self.unsafe_channels)}.")
        said += [
            f"Vetoed: {v.start_s:.3f} to {v.stop_s:.3f} s of it, {v.channel} has seen a glitch"
            f" (probability {v.probability:.2f})."
            for v in self.vetoed or ()
        ]
        said += [f"Filters by {self.model}."] if self.model else []
        said += ["Held: nothing was learnt from it, nor decided."] if self.held else []
        return " ".join([*said, *self.actions])


def fingerprint(wiener: Wiener) -> str:
    """Return the SHA-256 of filters, the same for the same filters."""
    digest = hashlib.sha256(repr((wiener.inputs, wiener.fringe, sorted(wiener.means.items()))).encode())
    for values in (wiener.response, *(wiener.modes[name] for name in sorted(wiener.modes))):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
