"""What importing torch and Lightning leaves behind in a process."""

import os
import subprocess
import sys

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
