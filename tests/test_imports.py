"""What importing torch and Lightning leaves behind in a process."""

import os
import subprocess
import sys

import pytest

from assay import BY_NVML, imports

COUNT = """
import os
from assay import BY_NVML, imports
with imports():
    import lightning_fabric
    print(os.environ[BY_NVML])
print(os.environ.get(BY_NVML))
"""


def test_torch_does_not_look_for_nvml_at_each_step_of_adam() -> None:
    env = {name: value for name, value in os.environ.items() if name != BY_NVML}
    said = subprocess.run([sys.executable, "-c", COUNT], env=env, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1", "None"]  # as Lightning has set it, and after


def test_it_does_where_a_person_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BY_NVML, "1")
    with imports():
        pass
    assert os.environ[BY_NVML] == "1"
