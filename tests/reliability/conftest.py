from collections.abc import Iterator

import pytest

from tests.reliability.harness import Zygote, zygote_in


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with zygote_in(tmp_path_factory.mktemp("zygote")) as zygote:
        yield zygote
