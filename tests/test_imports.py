"""What importing Assay, torch and Lightning leaves behind in a process."""

import os
import platform
import subprocess
import sys

import pytest

from assay import BY_NVML

COUNT = """
import os
import assay
from assay import BY_NVML, imports
with imports():
    import lightning_fabric
    print(os.environ[BY_NVML])
print(os.environ.get(BY_NVML))
os.environ[BY_NVML] = "1"
assay._by_nvml = "1"  # as if a person had set it
with imports():
    pass
print(os.environ.get(BY_NVML))
"""


def test_torch_looks_for_nvml_at_each_step_of_adam_only_if_a_person_wants_it() -> None:
    env = {name: value for name, value in os.environ.items() if name != BY_NVML}
    said = subprocess.run([sys.executable, "-c", COUNT], env=env, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1", "None", "1"]  # as Lightning has set it, after, and as a person has


FAULTS = """
from resource import RUSAGE_SELF, getrusage

def step():
    [b"x" * 150_000 for _ in range(4)]

for _ in range(10):
    step()
before = getrusage(RUSAGE_SELF).ru_minflt
for _ in range(100):
    step()
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heap of another C library")
def test_memory_that_a_step_frees_is_kept_for_the_next_one() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}

    def faults(code: str) -> int:
        said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
        return int(said.stdout)

    assert faults("import assay" + FAULTS) < 500 < faults(FAULTS)
