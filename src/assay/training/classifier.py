"""The training cycle of the lesson, at the speed of a bare loop."""

from typing import Any, TypedDict, final

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from assay.data.batches import Execution


class Executed(TypedDict):
    """What one call of the training step leaves, still on the device; one value a step."""

    losses: Tensor | None  # (steps,)
    correct: Tensor | None  # (steps,) correctly classified samples
    counts: list[int]  # samples of each batch
    learning_rates: list[float]
    weight: float


@final
class Classifier(LightningModule):
    """Trains a network that turns features into logits, with cross-entropy.

    The scheduler is stepped once an optimizer step. Evaluation leaves `evaluated`: sums over the samples seen
    of (loss, correct, samples).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler | None,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str = "norm",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.clip_val = gradient_clip_val
        self.clip_algorithm = gradient_clip_algorithm
        self.stop_requested = False  # set by a signal; honoured before the next batch
        self.evaluated = torch.zeros(3, dtype=torch.float64)
        self.tested: list[tuple[Tensor, Tensor]] = []  # logits and labels of the last test

    def forward(self, features: Tensor) -> Tensor:
        return self.model(features)

    def configure_optimizers(self) -> Any:
        if self.scheduler is None:
            return self.optimizer
        return {
            "optimizer": self.optimizer,
            "lr_scheduler": {"scheduler": self.scheduler, "interval": "step"},
        }

    def training_step(self, batches: Execution, batch_idx: int) -> Executed:
        """The standard cycle over many batches; losses stay tensors until the call is over."""
        model, criterion, update = self.model, self.criterion, _Update(self, batches.weight)
        losses: list[Tensor] = []
        outputs: list[Tensor] = []
        targets: list[Tensor] = []
        learning_rates: list[float] = []
        for features, labels in batches:
            logits = model(features)  # forward
            loss = criterion(logits, labels)  # loss
            update.backward(loss)  # backward
            learning_rates.append(update.step())  # step
            update.zero_grad()  # zero grad
            losses.append(loss.detach())
            outputs.append(logits.detach())
            targets.append(labels)
            if self.stop_requested:
                break
        update.count(len(losses))
        return _executed(losses, outputs, targets, learning_rates, batches.weight)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(*batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        logits = self._evaluate(*batch)
        self.tested.append((logits.float().cpu(), batch[1].cpu()))

    def on_train_epoch_start(self) -> None:
        self.evaluated = torch.zeros(3, dtype=torch.float64)

    def on_validation_epoch_start(self) -> None:
        self.evaluated = torch.zeros(3, dtype=torch.float64)

    def on_test_epoch_start(self) -> None:
        self.tested.clear()
        self.evaluated = torch.zeros(3, dtype=torch.float64)

    def _evaluate(self, features: Tensor, labels: Tensor) -> Tensor:
        logits = self.model(features)
        loss = nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
        correct = (logits.argmax(1) == labels).sum()
        self.evaluated += torch.tensor([loss.item(), correct.item(), len(labels)], dtype=torch.float64)
        return logits


class _Update:
    """Backward and optimizer step, by the shortest way that is right for this device and precision.

    On one device these are torch's own calls: `manual_backward` and `LightningOptimizer.step` together cost
    more than a tenth of a small network's step. Several processes need Lightning's backward, which averages
    gradients, and so does a gradient scaler, which it applies; the step is torch's own everywhere.
    """

    def __init__(self, module: Classifier, weight: float) -> None:
        self.module = module
        self.weight = weight
        # only the plugin of 16-mixed has one; Lightning has no other way to it in manual optimization
        self.scaler = getattr(module.trainer.precision_plugin, "scaler", None)
        self.optimizer = module.optimizer
        self.scheduler = module.scheduler
        self.parameters = list(module.model.parameters())
        self.zero_grad = self.optimizer.zero_grad
        is_plain = module.trainer.world_size == 1 and self.scaler is None
        self.backward = torch.Tensor.backward if is_plain else self._backward

    def _backward(self, loss: Tensor) -> None:
        self.module.manual_backward(loss if self.weight == 1.0 else loss * self.weight)

    def step(self) -> float:
        """Clip, step, schedule; the learning rate that was used."""
        learning_rate = self.optimizer.param_groups[0]["lr"]
        if self.module.clip_val is not None:
            self._clip(self.module.clip_val)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.scheduler is not None:
            self.scheduler.step()
        return float(learning_rate)

    def _clip(self, value: float) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if self.module.clip_algorithm == "norm":
            nn.utils.clip_grad_norm_(self.parameters, value)
        else:
            nn.utils.clip_grad_value_(self.parameters, value)

    def count(self, steps: int) -> None:
        """Tell Lightning of the steps, which it did not take: `trainer.global_step` reads this counter."""
        progress = self.module.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.total.ready += steps
        progress.total.completed += steps


def _executed(
    losses: list[Tensor],
    outputs: list[Tensor],
    targets: list[Tensor],
    learning_rates: list[float],
    weight: float,
) -> Executed:
    counts = [len(labels) for labels in targets]
    executed = Executed(
        losses=None, correct=None, counts=counts, learning_rates=learning_rates, weight=weight
    )
    if losses:
        hits = torch.cat(outputs).argmax(1) == torch.cat(targets)
        ends = torch.tensor(counts).cumsum(0).to(hits.device) - 1
        seen = hits.cumsum(0)[ends]  # (steps,); one sum a step would cost more than the arithmetic
        executed["correct"] = torch.cat([seen[:1], seen.diff()])
        executed["losses"] = torch.stack(losses)
    return executed
