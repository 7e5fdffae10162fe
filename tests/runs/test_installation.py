"""The check of an installation finds what is there and says what to do about what is not."""

import numba

from physics_twins.runs import installation
from physics_twins.runs.installation import Finding, Installation


def finding(name: str) -> Finding:
    found = installation.check_installation(["pulsar/b.fil"]).findings
    return next(f for f in found if f[0] == name)


def test_this_installation_works():
    assert installation.check_installation().works


def test_a_compiler_that_fails_is_wrong(monkeypatch):
    def broken(function):
        raise RuntimeError("no LLVM\nand more")

    monkeypatch.setattr(numba, "njit", broken)
    assert finding("numba") == ("numba", "wrong", "cannot compile: no LLVM")
    assert not installation.check_installation().works


def test_too_little_memory_is_wrong(monkeypatch):
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", int(1e9))
    assert "at least 2 GB" in finding("machine")[2]
    assert finding("machine")[1] == "wrong"


def test_a_missing_real_file_is_optional_and_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(installation, "find_data_file", lambda name: None)
    assert finding("real file")[1] == "optional"
    assert "twins data fetch pulsar/b.fil" in finding("real file")[2]


def test_geant4_is_optional_and_says_how_to_get_it(monkeypatch):
    assert finding("Geant4")[2].startswith("in calzone 1.")
    monkeypatch.setattr(installation, "find_spec", lambda name: None)
    expected = "no calzone and no xraylib: pip install calzone xraylib"
    assert finding("Geant4") == ("Geant4", "optional", expected)


def test_what_was_found_is_escaped_in_a_notebook():
    table = Installation([("real file", "ok", "/data/<b>.fil")])._repr_html_()
    assert "&lt;b&gt;" in table
