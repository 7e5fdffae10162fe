"""Tests of notebooks fail where a notebook that worked shows something in red."""

import json

import conftest
import pytest


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (["UserWarning: ", "old"], ["UserWarning: old"]),
        ("distributed.nanny - WARNING - Worker", ["distributed.nanny - WARNING - Worker"]),
        ("train:  50%|█████     | 1/2 [00:00<00:01]", ["train:  50%|█████     | 1/2 [00:00<00:01]"]),
        ("0.07 % of the samples carry no data and were left out", []),
    ],
)
def test_what_stands_in_red_is_found_unless_the_notebook_failed(tmp_path, text, found):
    path = tmp_path / "a.ipynb"
    red = {"output_type": "stream", "name": "stderr", "text": text}
    for outputs, expected in (
        ([red], found),
        ([red | {"name": "stdout"}], []),
        ([red, {"output_type": "error"}], []),
    ):
        path.write_text(json.dumps({"cells": [{"cell_type": "markdown"}, {"outputs": outputs}]}))
        assert conftest._said_in_red(path) == expected
