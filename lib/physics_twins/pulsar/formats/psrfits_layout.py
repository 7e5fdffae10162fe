"""How samples lie in a PSRFITS search-mode table: what its header says, checked against its columns."""

from dataclasses import dataclass

import numpy as np

from physics_twins.pulsar.formats.fits_table import Cards, FitsError, Table
from physics_twins.pulsar.formats.observation_file import MAX_CHANNELS

# Type of DATA in the table and of its samples, by bits in a sample.
DEPTHS = {1: ("BX", "u1"), 2: ("BX", "u1"), 4: ("BX", "u1"), 8: ("B", "u1"), 16: ("I", ">i2")}
DEPTHS |= {32: ("E", ">f4")}


@dataclass(frozen=True)
class Layout:
    """How the samples of a search-mode table lie, from its header.

    Attributes:
        n_bits: Bits in a sample.
        sample_type: Of a sample, or of a byte that holds several.
        n_channels: Channels.
        n_polarisations: Polarisation products.
        taken: Which of them make total intensity.
        polarisation: How, in words.
        row_spectra: Spectra in a row.
        sampling_s: Time from one spectrum to the next.
        zero: Sample that means zero.
        shift: What is added to samples as they are stored, the column's TZERO.
    """

    n_bits: int
    sample_type: str
    n_channels: int
    n_polarisations: int
    taken: tuple[int, ...]
    polarisation: str
    row_spectra: int
    sampling_s: float
    zero: float
    shift: float = 0.0

    @property
    def spectrum_bytes(self) -> int:
        """Bytes of one spectrum with all its polarisations."""
        return self.n_channels * self.n_polarisations * self.n_bits // 8

    @property
    def row_s(self) -> float:
        """Length of a row in time."""
        return self.row_spectra * self.sampling_s


def check_mode(primary: Cards, cards: Cards) -> None:
    """Raise FitsError where a file holds no search-mode data."""
    if primary.text("FITSTYPE", "") != "PSRFITS":
        raise FitsError(f"FITSTYPE = {primary.text('FITSTYPE', '')!r}: expected 'PSRFITS'")
    mode = primary.text("OBS_MODE")
    if mode not in ("SEARCH", "SRCH"):
        raise FitsError(f"OBS_MODE = {mode!r}: only search mode can be read")
    cards.integer("NBIN", 1, low=1, high=1)


def read_layout(table: Table) -> Layout:
    """Return how the samples of a table lie.

    Raises:
        FitsError: The header is damaged, or does not agree with the columns.
    """
    cards = table.cards
    n_bits = cards.integer("NBITS", low=1, high=32)
    if n_bits not in DEPTHS:
        raise FitsError(f"SUBINT: NBITS = {n_bits}: expected one of {[*DEPTHS]}")
    letters, sample_type = DEPTHS[n_bits]
    if n_bits == 8 and cards.number("SIGNINT", 0) == 1:
        sample_type = "i1"
    n_polarisations = cards.integer("NPOL", 1, low=1, high=4)
    taken, words = _intensity(cards.text("POL_TYPE", ""), n_polarisations)
    layout = Layout(
        n_bits=n_bits,
        sample_type=sample_type,
        n_channels=cards.integer("NCHAN", low=1, high=MAX_CHANNELS),
        n_polarisations=n_polarisations,
        taken=taken,
        polarisation=words,
        row_spectra=cards.integer("NSBLK", low=1, high=1 << 40),
        sampling_s=cards.number("TBIN"),
        zero=abs(cards.number("ZERO_OFF", 0.0)),  # written with either sign
        shift=_shift(table),
    )
    _check_data(table, layout, letters)
    return layout


def _shift(table: Table) -> float:
    """Return TZERO of the column DATA, as FITS stores numbers that its type does not know.

    Raises:
        FitsError: It has a TSCAL besides, which PSRFITS has DAT_SCL for.
    """
    if "DATA" not in table.columns:
        return 0.0
    number = [*table.columns].index("DATA") + 1
    scale = table.cards.number(f"TSCAL{number}", 1.0)
    if scale != 1.0:
        raise FitsError(f"SUBINT: TSCAL{number} = {scale:g}: samples are scaled by DAT_SCL only")
    return table.cards.number(f"TZERO{number}", 0.0)


def _check_data(table: Table, layout: Layout, letters: str) -> None:
    """Raise FitsError where the column DATA is not what the header says."""
    if layout.n_channels * layout.n_polarisations * layout.n_bits % 8:
        n = layout.n_channels
        raise FitsError(f"SUBINT: NCHAN = {n}: a spectrum does not fill whole bytes")
    if not 0 < layout.sampling_s < np.inf:
        raise FitsError(f"SUBINT: TBIN = {layout.sampling_s} s: must be positive")
    column = table.columns.get("DATA")
    if column is None or column.letter not in letters:
        found = "there is no such column" if column is None else f"of the type {column.letter}"
        raise FitsError(f"SUBINT: DATA: {found}, expected one of the type {' or '.join(letters)}")
    expected = layout.row_spectra * layout.spectrum_bytes
    if column.n_bytes != expected:
        raise FitsError(
            f"SUBINT: NSBLK = {layout.row_spectra}: spectra of {layout.spectrum_bytes} bytes are"
            f" {expected} bytes, DATA has {column.n_bytes}"
        )


def _intensity(kind: str, n_polarisations: int) -> tuple[tuple[int, ...], str]:
    """Return which polarisation products make total intensity, and how, in words."""
    if n_polarisations == 1:
        return (0,), kind or "unknown"
    if kind.startswith(("AABB", "XXYY", "LLRR")):
        return (0, 1), f"total intensity: {kind[:2]} + {kind[2:4]} of {kind}"
    if kind.startswith(("IQUV", "STOKE")):
        return (0,), f"total intensity: I of {kind}"
    raise FitsError(
        f"SUBINT: POL_TYPE = {kind!r} with NPOL = {n_polarisations}: expected AABB..., XXYY..., LLRR..."
        " or IQUV"
    )
