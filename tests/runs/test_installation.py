"""The check of an installation finds what is there and says what to do about what is not."""

import numba

from physics_twins.runs import installation
from physics_twins.runs.installation import OK, OPTIONAL, WRONG, check_installation


def finding(name: str) -> tuple[str, str]:
    table = check_installation(["pulsar/b.fil"]).data.set_index("thing")
    return tuple(table.loc[name])


def test_this_installation_works():
    assert WRONG not in set(check_installation().data["state"])


def test_a_compiler_that_fails_is_wrong(monkeypatch):
    def broken(function):
        raise RuntimeError("no LLVM\nand more")

    monkeypatch.setattr(numba, "njit", broken)
    assert finding("numba") == (WRONG, "cannot compile: no LLVM")


def test_a_missing_real_file_is_optional_and_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(installation, "find_data_file", lambda name: None)
    state, found = finding("real file")
    assert state == OPTIONAL
    assert "twins data fetch pulsar/b.fil" in found


def test_geant4_is_optional_and_says_how_to_get_it(monkeypatch):
    state, found = finding("Geant4")
    assert state == OK
    assert found.startswith("in calzone 1.")
    monkeypatch.setattr(installation, "find_spec", lambda name: None)
    expected = "no calzone and no xraylib: pip install calzone xraylib"
    assert finding("Geant4") == (OPTIONAL, expected)


def test_what_was_found_is_escaped_in_a_notebook(monkeypatch):
    monkeypatch.setattr(installation, "find_data_file", lambda name: "/data/<b>.fil")
    assert "&lt;b&gt;" in check_installation(["pulsar/b.fil"]).to_html()
