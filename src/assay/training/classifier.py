"""The training cycle of the lesson, at the speed of a bare loop."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypedDict, final

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from assay.data.batches import Execution


class Executed(TypedDict):
    """What one call of the training step leaves, still on the device; one value a step."""

    losses: Tensor  # (steps,)
    correct: Tensor  # (steps,) correctly classified samples
    counts: list[int]  # samples of each batch
    learning_rates: list[float]
    weight: float


@final
class Classifier(LightningModule):
    """Trains a network that turns features into logits, with cross-entropy.

    The scheduler is stepped once an optimizer step. Evaluation leaves `evaluated`: sums over the samples seen
    of (loss, correct, samples), until someone takes them.
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
        self.scaler: torch.amp.GradScaler | None = None  # of 16-mixed
        self.stop_requested = False  # set by a signal; honoured before the next batch
        self.evaluated = torch.zeros(3, dtype=torch.float64)
        self.tested: list[tuple[Tensor, Tensor]] = []  # logits and labels of the test

    def forward(self, features: Tensor) -> Tensor:
        return self.model(features)

    def configure_optimizers(self) -> Any:
        if self.scheduler is None:
            return self.optimizer
        scheduler = {"scheduler": self.scheduler, "interval": "step"}
        return {"optimizer": self.optimizer, "lr_scheduler": scheduler}

    def training_step(self, batches: Execution, batch_idx: int) -> Executed:
        """The standard cycle over many batches; losses stay tensors until the call is over."""
        model, criterion, optimizer = self.model, self.criterion, self.optimizer
        # only the plugin of 16-mixed has a scaler; Lightning has no other way to it in manual optimization
        self.scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        backward = self.backward_of(batches.weight)
        losses: list[Tensor] = []
        outputs: list[Tensor] = []
        targets: list[Tensor] = []
        learning_rates: list[float] = []
        for features, labels in batches:
            logits = model(features)  # forward
            loss = criterion(logits, labels)  # loss
            backward(loss)  # backward
            learning_rates.append(self.step())  # step
            optimizer.zero_grad()  # zero grad
            losses.append(loss.detach())
            outputs.append(logits.detach())
            targets.append(labels)
            if self.stop_requested:
                break
        self._count(len(losses))
        return Executed(
            losses=torch.stack(losses) if losses else torch.empty(0),
            correct=_correct(outputs, targets) if losses else torch.empty(0),
            counts=[len(labels) for labels in targets],
            learning_rates=learning_rates,
            weight=batches.weight,
        )

    def backward_of(self, weight: float) -> Callable[[Tensor], object]:
        """Backward by the shortest way that is right here; `weight` is that of this process's loss.

        torch's own on one device: `manual_backward` would cost more than a tenth of a small network's step.
        Several processes need it, for it averages gradients, and so does a gradient scaler, which it applies.
        """
        if self.trainer.world_size == 1 and self.scaler is None:
            return Tensor.backward
        return partial(self._weighted_backward, weight)

    def _weighted_backward(self, weight: float, loss: Tensor) -> None:
        self.manual_backward(loss if weight == 1.0 else loss * weight)

    def step(self) -> float:
        """Clip, step, schedule, by torch's own calls; the learning rate that was used."""
        learning_rate = self.optimizer.param_groups[0]["lr"]
        if self.clip_val is not None:
            self._clip(self.clip_val)
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
        by_norm = self.clip_algorithm == "norm"
        clip = nn.utils.clip_grad_norm_ if by_norm else nn.utils.clip_grad_value_
        clip(self.model.parameters(), value)

    def _count(self, steps: int) -> None:
        """Tell Lightning of the steps, which it did not take: `trainer.global_step` reads this counter."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.total.ready += steps
        progress.total.completed += steps

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(*batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        logits = self._evaluate(*batch)
        self.tested.append((logits.float().cpu(), batch[1].cpu()))

    def _evaluate(self, features: Tensor, labels: Tensor) -> Tensor:
        logits = self.model(features)
        loss = nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
        correct = (logits.argmax(1) == labels).sum()
        self.evaluated += torch.tensor([loss.item(), correct.item(), len(labels)], dtype=torch.float64)
        return logits


def _correct(outputs: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Correctly classified samples of each batch; one sum a step would cost more than the arithmetic."""
    hits = torch.cat(outputs).argmax(1) == torch.cat(targets)
    ends = torch.tensor([len(labels) for labels in targets]).cumsum(0).to(hits.device) - 1
    seen = hits.cumsum(0)[ends]
    return torch.cat([seen[:1], seen.diff()])
