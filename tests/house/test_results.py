"""What README and book print is what the benchmarks have measured, as far as their results are kept."""

import importlib
import json
import math
import re
import sys

import pytest
from sources import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

_printed, _table = map(importlib.import_module, ("_printed", "_table"))
BOOK, PRINTED, RESULTS = _printed.BOOK, _printed.PRINTED, _printed.RESULTS

KEPT = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
RECORDS = [(twin, record) for twin, records in KEPT.items() for record in records]


def test_every_kept_result_has_its_place_in_the_book():
    kept = {(twin, record["id"]) for twin, record in RECORDS}
    assert kept == {(twin, name) for twin, names in PRINTED.items() for name in names}


@pytest.mark.parametrize(("twin", "record"), RECORDS, ids=[f"{t}-{r['id']}" for t, r in RECORDS])
def test_the_book_prints_what_was_measured(twin, record):
    line = _printed.line_of(twin, record)
    assert _printed.missing(_printed.printed_numbers(twin, record), line) == []


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
    assert (_printed.missing([value], line) == []) is found


def test_a_new_figure_takes_the_place_of_the_old_one_in_its_units_and_digits():
    line = "| veto | **(91.4 ± 3.1) %**; 2e-8; \u22120.25; 1,240 ± 240 | 90 % asked |"
    old = [0.91398, 0.030875, 2.04e-8, -0.2512, 1239.6, 240.2]
    new = [0.9272, 0.0289, 3.06e-8, 0.1249, 987.4, 12345.0]
    assert _printed.rewritten(line, old, new) == (
        "| veto | **(92.7 ± 2.9) %**; 3e-8; 0.12; 987 ± 12345 | 90 % asked |"
    )
    assert _printed.rewritten(line, old, old) == line
    alike = "0.20 ± 0.01; 0.30 ± 0.01"
    assert _printed.rewritten(alike, [0.2, 0.01, 0.3, 0.01], [0.2, 0.03, 0.3, 0.02]) == (
        "0.20 ± 0.03; 0.30 ± 0.02"
    )


@pytest.mark.parametrize(("twin", "record"), RECORDS, ids=[f"{t}-{r['id']}" for t, r in RECORDS])
def test_every_line_is_written_again_as_it_stands_from_its_record(twin, record):
    line, numbers = _printed.line_of(twin, record), _printed.printed_numbers(twin, record)
    assert _printed.rewritten(line, numbers, numbers) == line


def test_a_benchmark_that_is_kept_writes_its_line(tmp_path, monkeypatch):
    page, kept = tmp_path / "virgo.md", tmp_path / "virgo.json"
    page.write_text("| words | 0.50 ± 0.02 |\n| others | 0.50 |\n")
    monkeypatch.setattr(_printed, "BOOK", tmp_path)
    monkeypatch.setattr(_printed, "RESULTS", tmp_path)
    monkeypatch.setitem(_printed.PRINTED, "virgo", {"veto": _printed.Printed("words")})
    _table.keep([{"id": "veto", "value": 0.5012, "error": 0.0201}], kept)
    assert page.read_text().startswith("| words | 0.50 ± 0.02 |")
    _table.keep([{"id": "veto", "value": 0.6234, "error": 0.0412}], kept)
    assert page.read_text() == "| words | 0.62 ± 0.04 |\n| others | 0.50 |\n"
    # Edited by hand before: what was asked, which looks like an old number, stays.
    page.write_text("| words | 0.71 ± 0.05 | 0.62 asked |\n")
    _table.keep([{"id": "veto", "value": 0.7123, "error": 0.0512}], kept)
    assert page.read_text() == "| words | 0.71 ± 0.05 | 0.62 asked |\n"
    page.write_text("| words | 0.62 ± 0.04 |\n| others | 0.50 |\n")
    _table.keep([{"id": "veto", "value": 0.7, "error": 0.03}], tmp_path / "elsewhere" / "virgo.json")
    assert page.read_text() == "| words | 0.62 ± 0.04 |\n| others | 0.50 |\n"


def listed(values):
    return values if isinstance(values, list) else [values]


def test_every_error_that_the_readme_prints_stands_in_the_book():
    book = " ".join(" ".join(page.read_text().split()) for page in BOOK.glob("*.md"))
    printed = re.findall(r"\d[\d.]* ± \d[\d.]*", " ".join((ROOT / "README.md").read_text().split()))
    assert printed
    assert [each for each in printed if each not in book] == []


def test_a_kept_result_stands_behind_every_line_of_the_tables_of_figures():
    alone = {}
    for page in ("pulsar", "calorimeter", "virgo", "lattice", "environment"):
        text = (BOOK / f"{page}.md").read_text()
        begun = re.search(r"^## (How good it is|Measured)$", text, re.MULTILINE)
        lines = text[begun.end() if begun else 0 :].splitlines()
        rows = [line for line in lines if line.startswith("| ") and "---" not in line]
        words = [
            place.words
            for twin, places in PRINTED.items()
            for place in places.values()
            if (place.page or twin) == page
        ]
        alone[page] = [
            row for row in rows if re.search(r"\d", row) and not any(w in row for w in words)
        ]
    assert {page: rows for page, rows in alone.items() if rows} == {}
