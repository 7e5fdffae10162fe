"""Digital twins of physics instruments: simulate, calibrate, train, evaluate, infer.

Next to nothing is imported here, so that workers and the command line start light.
"""

from physics_twins import data as _data

__version__ = "0.1.0"

_data.keep_compiled_code()  # before anything of it is imported
