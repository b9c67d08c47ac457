"""What makes two runs the same run: the config without what cannot change the result."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from assay.config.schema import TrainConfig

# Paths, names, what is logged and how often it is saved; a test proves that `steps_per_execution` leaves the
# weights as they are, bit for bit. `device.threads` stays: it changes the last bits of a sum.
WITHOUT_EFFECT = {
    "": ("name", "resume", "output_dir", "logger", "sweep"),
    "data": ("root", "download", "num_workers"),
    "trainer": ("steps_per_execution", "log_every_n_steps", "checkpoint_every", "profiler"),
}


def plain(config: TrainConfig) -> dict[str, Any]:
    """The config as it is written to `config.yaml`: dictionaries, lists, numbers, text."""
    return json.loads(json.dumps(asdict(config)))


def config_id(config: TrainConfig) -> str:
    """Eight hex digits that two runs share if and only if their results should be equal."""
    return digest(plain(config))


def group_id(config: TrainConfig) -> str:
    """The same for runs that differ in their seed alone."""
    return digest(plain(config), without_seed=True)


def digest(stored: Mapping[str, Any], without_seed: bool = False) -> str:
    """The id of a config as it stands in `config.yaml`."""
    kept = json.loads(json.dumps(stored))
    for group, names in WITHOUT_EFFECT.items():
        section = kept.get(group, {}) if group else kept
        for name in (*names, "seed") if without_seed and not group else names:
            section.pop(name, None)
    text = json.dumps(kept, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
