"""What makes two runs the same run: the config without what cannot change the result."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from assay.config.frame import TrainConfig

# Paths, names, what is logged and how often it is saved; a test proves that `steps_per_execution` leaves the
# weights as they are, bit for bit. `device.threads` stays: it changes the last bits of a sum.
WITHOUT_EFFECT = {
    "": ("name", "stages", "resume", "output_dir", "logger", "sweep"),
    "data": ("root", "download", "num_workers"),
    "trainer": ("steps_per_execution", "log_every_n_steps", "checkpoint_every", "profiler"),
}


def plain(config: TrainConfig) -> dict[str, Any]:
    """The config as it is written to `config.yaml`: dictionaries, lists, numbers, text."""
    return json.loads(json.dumps(asdict(config)))


def config_id(config: TrainConfig) -> str:
    """Eight hex digits that two runs share if and only if their results should be equal."""
    kept = plain(config)
    for group, names in WITHOUT_EFFECT.items():
        section = kept[group] if group else kept
        for name in names:
            section.pop(name, None)
    text = json.dumps(kept, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
