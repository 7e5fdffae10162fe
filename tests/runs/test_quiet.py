"""Tests of notebooks fail where a notebook that worked shows something in red."""

import json

import conftest
import pytest


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        ([{"output_type": "stream", "name": "stderr", "text": ["a ", "warning"]}], ["a warning"]),
        ([{"output_type": "stream", "name": "stdout", "text": "12 pulses"}], []),
        ([{"output_type": "stream", "name": "stderr", "text": "x"}, {"output_type": "error"}], []),
    ],
)
def test_what_stands_in_red_is_found_unless_the_notebook_failed(tmp_path, outputs, found):
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown"}, {"outputs": outputs}]}))
    assert conftest._said_in_red(path) == found
