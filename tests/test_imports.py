"""What importing torch and Lightning leaves behind in a process."""

import os
import subprocess
import sys

import pytest

COUNT = """
import os
from assay import BY_NVML, imports
with imports():
    import lightning_fabric
print(os.environ.get(BY_NVML))
"""


@pytest.mark.parametrize("typed", [None, "1"])
def test_torch_looks_for_nvml_at_each_step_of_adam_only_if_a_person_wants_it(
    typed: str | None,
) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTORCH_NVML_BASED_CUDA_CHECK"}
    env |= {"PYTORCH_NVML_BASED_CUDA_CHECK": typed} if typed else {}
    said = subprocess.run([sys.executable, "-c", COUNT], env=env, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(typed)
