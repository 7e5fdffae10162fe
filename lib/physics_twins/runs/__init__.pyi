"""Runs and the notebooks that make them."""

from .comparing import compare as compare
from .folder import PLAN as PLAN
from .folder import Run as Run
from .folder import default_root as default_root
from .folder import find as find
from .folder import now as now
from .folder import open_run as open_run
from .folder import resolve as resolve
from .installation import check_installation as check_installation
from .interruption import Interruption as Interruption
from .notebooks import Notebook as Notebook
from .notebooks import available as available
from .notebooks import notebook as notebook
from .notebooks import remember as remember
from .notebooks import rerun as rerun
from .notebooks import run as run
from .provenance import describe_code as describe_code
from .provenance import identity as identity
from .provenance import json_sha256 as json_sha256
from .provenance import source_sha256 as source_sha256
