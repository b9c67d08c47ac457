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
from assay.training.tasks import Sums, Task


class Executed(TypedDict):
    """What one call of the training step leaves, still on the device; one value a step."""

    losses: Tensor  # (steps,)
    values: dict[str, Tensor]  # the task's, summed over the samples of each step, (steps,)
    counts: list[int]  # samples of each batch
    learning_rates: list[float]
    weight: float


@final
class Learner(LightningModule):
    """Trains a network for a task.

    The scheduler is stepped once an optimizer step. Evaluation adds what it measures to `evaluated`, until
    someone takes it.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        optimizer: Optimizer,
        scheduler: LRScheduler | None,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str = "norm",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.task = task
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.clip_val = gradient_clip_val
        self.clip_algorithm = gradient_clip_algorithm
        self.scaler: torch.amp.GradScaler | None = None  # of 16-mixed
        self.stop_requested = False  # set by a signal; honoured before the next batch
        self.evaluated = Sums()
        self.tested: list[tuple[Tensor, Tensor]] = []  # outputs and targets of the test

    def forward(self, features: Tensor) -> Tensor:
        return self.model(features)

    def configure_optimizers(self) -> Any:
        if self.scheduler is None:
            return self.optimizer
        scheduler = {"scheduler": self.scheduler, "interval": "step"}
        return {"optimizer": self.optimizer, "lr_scheduler": scheduler}

    def training_step(self, batches: Execution, batch_idx: int) -> Executed:
        """The standard cycle over many batches; losses stay tensors until the call is over."""
        model, task, optimizer = self.model, self.task, self.optimizer
        # only the plugin of 16-mixed has a scaler; Lightning has no other way to it in manual optimization
        self.scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        backward = self.backward_of(batches.weight)
        losses: list[Tensor] = []
        all_outputs: list[Tensor] = []
        all_targets: list[Tensor] = []
        learning_rates: list[float] = []
        for features, targets in batches:
            outputs = model(features)  # forward
            loss = task.loss(outputs, targets)  # loss
            backward(loss)  # backward
            learning_rates.append(self.step())  # step
            optimizer.zero_grad()  # zero grad
            losses.append(loss.detach())
            all_outputs.append(outputs.detach())
            all_targets.append(targets)
            del features  # the next batch then takes its place, which is still in the cache
            if self.stop_requested:
                break
        self._count(len(losses))
        counts = [len(targets) for targets in all_targets]
        return Executed(
            losses=_precise(torch.stack(losses)) if losses else torch.empty(0),
            values=self._values(torch.cat(all_outputs), torch.cat(all_targets), counts) if losses else {},
            counts=counts,
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

    @torch.no_grad()
    def _values(self, outputs: Tensor, targets: Tensor, counts: list[int]) -> dict[str, Tensor]:
        """The task's values, summed over each batch's samples; a sum a step would cost more than both."""
        ends = torch.tensor(counts).cumsum(0).to(outputs.device) - 1
        sums = {
            name: _precise(each).cumsum(0)[ends]
            for name, each in self.task.values(_wide(outputs), _wide(targets)).items()
        }
        return {name: torch.cat([sum[:1], sum.diff()]) for name, sum in sums.items()}

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(*batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        outputs = self._evaluate(*batch)
        self.tested.append((outputs.cpu(), batch[1].cpu()))

    def _evaluate(self, features: Tensor, targets: Tensor) -> Tensor:
        outputs, targets = _wide(self.model(features)), _wide(targets)
        values = self.task.values(outputs, targets)
        sums = {name: _precise(each).sum().item() for name, each in values.items()}
        self.evaluated.add(self.task.loss(outputs, targets).item(), sums, len(targets))
        return outputs


def _wide(numbers: Tensor) -> Tensor:
    """Half formats as float32: what is averaged over many samples would lose its last digits."""
    return numbers.float() if numbers.dtype in (torch.bfloat16, torch.float16) else numbers


def _precise(values: Tensor) -> Tensor:
    """In double precision, where the device has it."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)
