from pathlib import Path

import pytest

from tests.processes import Zygote
from tests.reliability.harness import WORDS, only_run


@pytest.fixture(scope="session")
def undisturbed(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that all the disturbed ones must come out as."""
    output = tmp_path_factory.mktemp("undisturbed")
    assert zygote.train(*WORDS, f"output_dir={output}")[0] == 0
    return only_run(output)
