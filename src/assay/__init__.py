"""Assay: a config-driven experiment framework for PyTorch."""

import os

# How long a thread of torch's OpenMP (libgomp, on Linux) spins for the next piece of work before it sleeps.
# Its default is right while a process has the cores to itself; two trainings on the same two cores wait for
# each other's spinning instead, and both took sixty times as long. Read when torch is imported, so set here.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
