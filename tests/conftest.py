from collections.abc import Iterator

import pytest

from assay.run.process import usable_cores
from tests import processes


def pytest_xdist_auto_num_workers() -> int:
    """More than there are cores: a test that kills processes waits for most of its time."""
    return 1 + usable_cores()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    if processes.zygote.cache_info().currsize:
        processes.zygote().close()


@pytest.fixture(scope="session")
def zygote() -> processes.Zygote:
    return processes.zygote()
