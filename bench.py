"""Measure what the lesson claims: `python bench.py --help`."""

from assay.cli import bench_process

if __name__ == "__main__":
    bench_process()
