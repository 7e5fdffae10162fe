import hashlib

import pytest
from real_files import real_file

from physics_twins.pulsar.real_files import PUBLIC_FILES, fetch


@pytest.mark.parametrize("name", PUBLIC_FILES)
def test_a_file_that_is_here_is_the_public_one(name):
    path = real_file(name)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == PUBLIC_FILES[name].sha256


def test_only_known_files_are_fetched():
    with pytest.raises(ValueError, match="no public file"):
        fetch("somewhere/else.fil")
