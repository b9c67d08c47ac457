from pathlib import Path

import pytest

from tests.processes import Zygote
from tests.regression import STOP, Shell


@pytest.fixture
def shell(zygote: Zygote, tmp_path: Path) -> Shell:
    return Shell(zygote, tmp_path)


@pytest.fixture(scope="session")
def stopped(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that SIGTERM ended in its third epoch of three; to be copied, not changed."""
    return Shell(zygote, tmp_path_factory.mktemp("stopped")).run(code=143, fault=STOP)


@pytest.fixture(scope="session")
def completed(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A completed run, of a model 17 units wide, other data and another optimizer than by default."""
    words = ("model.width=17", "data.batch_size=5", "optimizer=sgd", "optimizer.lr=0.2", "seed=3")
    return Shell(zygote, tmp_path_factory.mktemp("completed")).run(*words)
