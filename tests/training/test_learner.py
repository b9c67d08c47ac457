"""The cycle of the training step against the same cycle written out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from assay.data.order import epoch_order
from assay.run.device import resolve
from assay.run.parts import build_parts
from assay.training.learner import Learner
from assay.training.tasks import Classification
from tests.runs import SHORT, checkpoint, config, result, train


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_weights_are_those_of_a_bare_loop(tmp_path: Path, optimizer: str) -> None:
    words = (f"optimizer={optimizer}", "scheduler=none")
    trained = checkpoint(train(tmp_path, *words))["state_dict"]

    parts = build_parts(config(*SHORT, *words), resolve(config(*SHORT).device))
    model, criterion = parts.learner.model, nn.CrossEntropyLoss()
    step = parts.learner.optimizer
    split: Any = parts.data.split("train")
    images, labels = split.tensors
    for epoch in range(2):
        for indices in epoch_order(len(labels), seed=0, epoch=epoch).split(64)[:20]:
            criterion(model(images[indices]), labels[indices]).backward()
            step.step()
            step.zero_grad()
    for name, tensor in model.state_dict().items():
        assert torch.equal(trained[f"model.{name}"], tensor)


def test_a_checkpoint_is_plain_data(tmp_path: Path) -> None:
    for words in (("optimizer=sgd",), ("scheduler=cosine",), ("callbacks=early_stopping",)):
        found = checkpoint(train(tmp_path, *words))  # loads with weights_only=True
        assert "hyper_parameters" not in found
        assert found["global_step"] == 40


def test_evaluation_is_over_every_sample_once(tmp_path: Path) -> None:
    folder = train(tmp_path, "trainer.limit_test_batches=null", "model.width=8")
    parts = build_parts(config("model.width=8"), resolve(config("device=cpu").device))
    parts.learner.load_state_dict(checkpoint(folder, "best")["state_dict"])
    split: Any = parts.data.split("test")
    images, labels = split.tensors
    with torch.no_grad():
        logits = parts.learner.model.eval()(images)
    metrics = result(folder)["metrics"]
    assert metrics["test/accuracy"] == (logits.argmax(1) == labels).sum().item() / 10_000
    loss = nn.functional.cross_entropy(logits.double(), labels).item()
    assert metrics["test/loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("world_size", [1, 2])
def test_clipping_unscales_gradients_once(world_size: int) -> None:
    """As 16-mixed scales them, on one device and on several: the step is the one without a scaler."""
    scaled, plain = nn.Linear(3, 2), nn.Linear(3, 2)
    plain.load_state_dict(scaled.state_dict())
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    features = torch.ones(4, 3)

    trainer: Any = SimpleNamespace(world_size=world_size)
    for model, kind, backward in (
        (scaled, scaler, lambda loss: scaler.scale(loss).backward()),
        (plain, None, lambda loss: loss.backward()),
    ):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        module = Learner(model, Classification(), optimizer, None, gradient_clip_val=0.1)
        module.trainer, module.scaler, module.manual_backward = trainer, kind, backward
        module.backward_of(weight=1.0)(model(features).sum())
        assert module.step() == 0.5
    assert all(map(torch.allclose, scaled.parameters(), plain.parameters()))
