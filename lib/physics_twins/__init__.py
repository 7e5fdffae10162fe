"""Digital twins of physics instruments: simulate, calibrate, train, evaluate, infer.

Nothing is imported here, so that workers and the command line start light.
"""

__version__ = "0.1.0"
