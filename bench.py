"""Measure what the lesson claims: `python bench.py --help`."""

import sys

from assay.cli import bench

if __name__ == "__main__":
    sys.exit(bench())
