from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.harness import WORDS, Zygote, only_run, zygote_in


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with zygote_in(tmp_path_factory.mktemp("zygote")) as zygote:
        yield zygote


@pytest.fixture(scope="session")
def undisturbed(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that all the disturbed ones must come out as."""
    output = tmp_path_factory.mktemp("undisturbed")
    assert zygote.train(*WORDS, f"output_dir={output}")[0] == 0
    return only_run(output)
