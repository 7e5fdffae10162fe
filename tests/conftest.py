import pytest
from slurm import PrivateSlurm, why_not


@pytest.fixture(scope="session")
def slurm():
    """A SLURM of this session's own; a test that uses it is skipped where its programs are missing."""
    if reason := why_not():
        pytest.skip(reason)
    with PrivateSlurm() as private:
        yield private
