"""A Dask client anywhere, and many calls on it."""

from .batch import BATCH_SYSTEMS as BATCH_SYSTEMS
from .batch import check as check
from .batch import how_many as how_many
from .batch import is_batch as is_batch
from .batch import job_script as job_script
from .batch import places as places
from .batch import wait_for_worker as wait_for_worker
from .calls import ClusterError as ClusterError
from .calls import results as results
from .client import connect as connect
from .local import this_machine as this_machine
from .workers import WORKERS_FILE as WORKERS_FILE
