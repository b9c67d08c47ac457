"""Train, test and sweep: `python train.py --help`."""

import sys

from assay.cli import train

if __name__ == "__main__":
    sys.exit(train())
