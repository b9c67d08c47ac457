"""What the server of a sweep's processes has read before it forks one."""

import os
from typing import Any

from assay.data import images
from tests.processes import Zygote


def serve() -> None:
    """In a child: what the server does, with configs that are refused and one that is right."""
    from assay.sweep import preload

    module: Any = images
    held, raw = module._held, module._raw  # what a process keeps of the data it has read
    held.cache_clear()
    raw.cache_clear()
    node = {"_target_": "assay.data.images.MNIST", "root": "data"}
    preload.read_ahead({"data": node | {"target": "nothing"}})
    preload.read_ahead({"data": node | {"root": "nowhere", "download": False}})
    preload.read_ahead({"data": node, "model": {"_target_": "assay.models.mlp.MNISTClassifier", "widht": 1}})
    print(held.cache_info().misses, flush=True)
    preload.read_ahead({"data": node})
    if os.fork() == 0:
        source = images.MNIST("data", batch_size=256)
        source.prepare()
        splits: Any = [source.dataset(split) for split in ("train", "val", "test")]
        print([len(split) for split in splits], flush=True)
        print(held.cache_info().misses, raw.cache_info().misses, flush=True)
        os._exit(0)
    os.wait()


def test_the_server_reads_the_data_of_a_config_that_is_right_and_its_processes_read_nothing(
    zygote: Zygote,
) -> None:
    code, said = zygote.run("tests.sweep.test_preload:serve")
    assert code == 0 and said.splitlines() == ["0", "[55000, 5000, 10000]", "3 2"]
