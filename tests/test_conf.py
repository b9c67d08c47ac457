"""Every YAML in conf/ composes, is validated, and builds what it names."""

from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from assay import CONF
from assay.config.components import build, component_keys, component_problems
from assay.config.explain import groups, options
from assay.config.load import check_components, load, trial_problems
from assay.config.saved import as_plain

TRAIN = [(group, option) for group in groups() if group not in ("bench",) for option in options(group)]


@pytest.fixture(params=[f"{group}={option}" for group, option in TRAIN])
def choice(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_option_is_validated_and_its_components_build(choice: str) -> None:
    more = ["data.root=photos"] if choice == "data=folder" else []  # which is the user's alone
    config = load("train", [choice, *more]).config
    assert not trial_problems(as_plain(config))
    source = build(config.data, "data", seed=0)
    shape = (1, 28, 28) if "autoencoder" in choice else (10,)
    network = build(config.model, "model", in_shape=(1, 28, 28), out_shape=shape)
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, *shape)
    optimizer = build(config.optimizer, "optimizer", params=list(network.parameters()))
    scheduler = build(config.scheduler, "scheduler", optimizer=optimizer, total_steps=10)
    assert source.batch_size >= 1
    assert scheduler is None or scheduler.optimizer is optimizer
    assert optimizer.param_groups[0]["params"][0] is next(network.parameters())


@pytest.mark.parametrize("bench", options("bench"))
def test_every_bench_is_validated(bench: str) -> None:
    config = load("bench", [f"bench={bench}"]).config
    check_components(config)
    assert config.bench == bench


def test_every_target_of_every_file_passes_the_door() -> None:
    found = 0
    for path in sorted(CONF.glob("*/*.yaml")):  # what lies deeper are Hydra's own plugins
        plain: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        key = path.parent.name
        nodes = (
            {key: plain} if "_target_" in plain else {k: v for k, v in plain.items() if isinstance(v, dict)}
        )
        for name, node in nodes.items():
            if node.get("_target_"):
                found += 1
                slot = key if name == key else f"{key}.{name}"
                assert not component_problems(node, slot), path
    assert found >= 8


def test_no_file_names_a_component_that_is_not_validated() -> None:
    plain: Any = as_plain(load("train", []).config)
    with_target = [
        key for key, value in plain.items() if isinstance(value, dict) and "_target_" in yaml.safe_dump(value)
    ]
    assert {key.partition(".")[0] for key in component_keys(plain)} >= set(with_target)
