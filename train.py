"""Train, test and sweep: `python train.py --help`."""

from assay.cli import train_process

if __name__ == "__main__":
    train_process()
