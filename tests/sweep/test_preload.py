"""What the server of a sweep's processes has read before it forks one."""

import subprocess
import sys

from assay import PROJECT

SERVER = """
import json, os
from assay.sweep.pool import DATA, read_ahead
node = {"_target_": "assay.data.images.MNIST", "root": "nowhere", "download": False}
read_ahead(node)
from assay.sweep import preload  # which goes on without the data
assert DATA not in os.environ
preload.read_ahead(node | {"root": "data"})
from assay.data.images import MNIST
held = MNIST("data", batch_size=256)
one, other = (held.dataset("train").tensors[0].data_ptr() for _ in range(2))
print(one == other, len(held.dataset("val")))
"""


def test_the_server_reads_the_data_for_all_jobs_and_goes_on_where_it_cannot() -> None:
    command = [sys.executable, "-c", SERVER]
    said = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert (said.stdout, said.stderr) == ("True 5000\n", "")
