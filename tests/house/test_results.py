"""What README and book print is what the benchmarks have measured, as far as their results are kept."""

import json
import math
import re
import sys
from dataclasses import dataclass

import pytest
from sources import ROOT

RESULTS = ROOT / "benchmarks" / "results"
BOOK = ROOT / "book"
NUMBER = re.compile(r"(?<![\w.])[-\u2212]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
SCALES = (1.0, 100.0, 0.01, 1e3, 1e-3)  # a share may be printed in percent, a second in ms


@dataclass(frozen=True)
class Printed:
    """Where a record is printed: in the line of a page that holds some words.

    Attributes:
        words: Of the line.
        which: Which of its numbers are; all by default.
        with_errors: Whether their errors are, too.
        page: Where; by default the twin's own.
    """

    words: str
    which: tuple[int, ...] | None = None
    with_errors: bool = True
    page: str = ""


PRINTED = {
    "calorimeter": {
        "auc_boosted": Printed("boosted trees that tell the flow's showers from Geant4's"),
        "cell_spectrum": Printed("With steps of energy the mean number of cells"),
        "generation_ms_b1_large": Printed("a shower of the flow on one core", (0, 2)),
        "onnx_ms": Printed("a shower of the ONNX file", (1,)),
        "judge_power": Printed("10 % of noise on every cell; 30 %", (1, 2)),
        "baseline_auc": Printed(
            "boosted trees that tell the flow's showers from Geant4's", None, False
        ),
    },
    "lattice": {
        "sun_2d": Printed("SU(2) in 2D at β = 2.2; SU(3) at 3, 6, 9"),
        "su3_4d_plaquette": Printed("SU(3) in 4D at β = 6, 8⁴: plaquette"),
        "su3_4d_sweeps": Printed("sweeps of all links per CPU second", (0,)),
        "error_coverage": Printed("68 % intervals cover: 1,000 AR(1) chains"),
        "coarse_to_fine_16": Printed(
            "At 16² (`coarse_to_fine_16`", (0, 1, 5, 6, 7, 8, 10, 11, 12, 13, 15, 16, 17, 18)
        ),
        "critical_coupling": Printed("critical coupling of φ⁴ in 2D", (0,)),
        "gauge_layers": Printed("splines were exact, and 0.175", (2, 3, 4, 5, 7, 8)),
        "calibration_coverage": Printed("couplings of 60 ensembles each, 8²"),
        "monitor_calls": Printed("false alarms in 3,840 batches", (0, 1, 8)),
    },
    "pulsar": {
        "recall_faint_rfi": Printed("pulses of S/N 6, 7 found at 1 % false alarms among"),
        "recall_faint_rfi_front_end": Printed("pulses of S/N 6, 7 found at 1 % false alarms among"),
        "recall_faint_rfi_drop": Printed("of what it finds in the noise alone", page="limits"),
        "macro_f1_unclear": Printed("nine labels, interference of any S/N"),
    },
    "virgo": {
        "reconstruction_mismatch": Printed("Of 34 witnessed glitches of the simulator"),
        "veto_efficiency": Printed("of the 93 witnessed glitches"),
        "veto_unwitnessed": Printed("of the 93 witnessed glitches"),
        "veto_deadtime": Printed("of the 93 witnessed glitches"),
        "veto_energy_inside": Printed("The segments are short"),
    },
}
KEPT = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
RECORDS = [(twin, record) for twin, records in KEPT.items() for record in records]
MOST_UNCHECKED = 130  # lines of tables of figures that no kept record stands behind; fewer are better


def line_of(page: str, words: str) -> str:
    (found,) = (line for line in (BOOK / f"{page}.md").read_text().splitlines() if words in line)
    return found


def is_printed(value: float, line: str) -> bool:
    """Whether a line has a number that is this value, rounded as that number is, in some unit."""
    for text in NUMBER.findall(line):
        plain = text.replace(",", "").replace("\u2212", "-")
        digits = len(plain.partition("e")[0].partition(".")[2])
        power = int(plain.partition("e")[2] or 0)
        half = 0.5001 * 10.0 ** (power - digits)
        if any(abs(float(plain) - scale * value) <= half for scale in SCALES):
            return True
    return False


def listed(values: float | list[float] | None) -> list[float]:
    return [] if values is None else values if isinstance(values, list) else [values]


def test_every_kept_result_has_its_place_in_the_book():
    kept = {(twin, record["id"]) for twin, record in RECORDS}
    assert kept == {(twin, name) for twin, names in PRINTED.items() for name in names}


@pytest.mark.parametrize(("twin", "record"), RECORDS, ids=[f"{t}-{r['id']}" for t, r in RECORDS])
def test_the_book_prints_what_was_measured(twin, record):
    place = PRINTED[twin][record["id"]]
    line, values, errors = (
        line_of(place.page or twin, place.words),
        *map(listed, (record["value"], record["error"])),
    )
    which = range(len(values)) if place.which is None else place.which
    missing = [values[n] for n in which if not is_printed(values[n], line)]
    errors = errors if place.with_errors else []
    missing += [errors[n] for n in which if errors and errors[n] and not is_printed(errors[n], line)]
    assert missing == []


@pytest.mark.parametrize(("twin", "record"), RECORDS, ids=[f"{t}-{r['id']}" for t, r in RECORDS])
def test_a_kept_result_says_when_on_what_and_with_which_seeds(twin, record):
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", record["date"])
    assert record["device"]
    assert re.fullmatch(r"[0-9a-f]{7,40}\+?|", record["commit"])  # "" for what was kept without
    assert all(math.isfinite(value) for value in listed(record["value"]))


@pytest.mark.parametrize(
    ("value", "line", "found"),
    [
        (0.65234, "| 0.652 ± 0.019 |", True),
        (0.65312, "| 0.652 ± 0.019 |", False),
        (0.91398, "(91.4 ± 3.1) % of", True),
        (2.0e-8, "2e-8", True),
        (1240.0, "1,240 ± 240", True),
        (1.0, "12 of 15", False),
    ],
)
def test_a_number_is_recognised_as_it_is_rounded(value, line, found):
    assert is_printed(value, line) is found


def test_every_error_that_the_readme_prints_stands_in_the_book():
    book = " ".join(" ".join(page.read_text().split()) for page in BOOK.glob("*.md"))
    printed = re.findall(r"\d[\d.]* ± \d[\d.]*", " ".join((ROOT / "README.md").read_text().split()))
    assert printed
    assert [each for each in printed if each not in book] == []


def test_how_many_lines_of_the_tables_of_figures_no_kept_result_stands_behind(capsys):
    tables = {}
    for page in ("pulsar", "calorimeter", "virgo", "lattice", "environment"):
        text = (BOOK / f"{page}.md").read_text()
        begun = re.search(r"^## (How good it is|Measured)$", text, re.MULTILINE)
        lines = text[begun.end() if begun else 0 :].splitlines()
        rows = [line for line in lines if line.startswith("| ") and "---" not in line]
        words = [place.words for place in PRINTED.get(page, {}).values()]
        tables[page] = [
            row for row in rows if re.search(r"\d", row) and not any(w in row for w in words)
        ]
    n = {page: len(rows) for page, rows in tables.items()}
    with capsys.disabled():
        sys.stdout.write(f"\nlines of tables without a kept result: {sum(n.values())} ({n})\n")
    assert sum(n.values()) <= MOST_UNCHECKED
