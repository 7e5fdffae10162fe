"""A Dask client anywhere, and many calls on it."""

from .batch import DESCRIPTION as DESCRIPTION
from .batch import how_many as how_many
from .batch import missing_commands as missing_commands
from .batch import sections as sections
from .calls import NO_WORKER_S as NO_WORKER_S
from .calls import Call as Call
from .calls import WorkerError as WorkerError
from .calls import as_they_come as as_they_come
from .calls import results as results
from .client import connect as connect
from .client import job_script as job_script
from .jobs import listing as listing
from .jobs import wait_for_worker as wait_for_worker
from .local import gpus as gpus
from .local import sizes as sizes
from .names import BATCH_SYSTEMS as BATCH_SYSTEMS
from .names import WORDS as WORDS
from .names import ClusterError as ClusterError
from .names import check as check
from .names import is_batch as is_batch
from .workers import WORKERS_FILE as WORKERS_FILE
from .workers import Worker as Worker
from .workers import WorkerView as WorkerView
from .workers import read_workers as read_workers
