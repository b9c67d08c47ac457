"""Epochs cut into calls: every sample once, on one process or several, resumed or not."""

import pytest
import torch

from assay.data.batches import EpochPlan, Executions, Share, gather_dataset, gather_tensors
from assay.data.random import RandomDataset


def plan(samples: int = 103, batch: int = 10, calls_of: int = 4, max_steps: int | None = None) -> EpochPlan:
    return EpochPlan(samples, batch, -(-samples // batch), calls_of, seed=0, max_steps=max_steps)


def executions_of(
    plan: EpochPlan,
    epoch: int,
    done: int = 0,
    share: Share = Share(),  # noqa: B008 (frozen)
) -> Executions:
    features, labels = torch.arange(103).float().unsqueeze(1), torch.arange(103)
    return Executions(gather_tensors(features, labels), plan, share, lambda: (epoch, done))


def seen(executions: Executions) -> list[list[int]]:
    return [labels.tolist() for call in executions for _, labels in call]


def test_every_sample_is_used_once_an_epoch() -> None:
    batches = seen(executions_of(plan(), 0))
    assert [len(batch) for batch in batches] == [10] * 10 + [3]
    assert sorted(index for batch in batches for index in batch) == list(range(103))


@pytest.mark.parametrize("calls_of", [1, 3, 4, 128])
def test_the_batches_are_the_same_however_many_a_call_has(calls_of: int) -> None:
    whole = seen(executions_of(plan(), 1))
    assert seen(executions_of(plan(calls_of=calls_of), 1)) == whole


@pytest.mark.parametrize("done", [0, 1, 4, 7, 10])
def test_a_resumed_epoch_has_as_many_calls_and_only_the_rest_of_the_batches(done: int) -> None:
    executions = executions_of(plan(), 2, done)
    whole = seen(executions_of(plan(), 2))
    assert len(list(executions)) == len(executions) == 3
    assert seen(executions) == whole[done:]


def test_max_steps_ends_inside_an_epoch() -> None:
    executions = executions_of(plan(max_steps=16), 1)
    assert len(seen(executions)) == 16 - 11


@pytest.mark.parametrize("world", [2, 3, 4])
def test_processes_share_every_batch_and_weigh_their_part(world: int) -> None:
    parts = [list(executions_of(plan(calls_of=1), 0, share=Share(rank, world))) for rank in range(world)]
    used: list[int] = []
    for calls in zip(*parts, strict=True):
        mean = 0.0
        batch: list[int] = []
        for call in calls:
            ((features, labels),) = list(call)
            mean += call.weight * features.mean().item() / world
            batch += labels.tolist() if call.weight else []
        assert mean == pytest.approx(sum(batch) / len(batch))  # as one process has it
        used += batch
    assert sorted(used) == list(range(103))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_goes_through_a_loader_in_the_planned_order(workers: int) -> None:
    dataset = RandomDataset(10)
    gather = gather_dataset(dataset, workers, 0, torch.device("cpu"), lambda x: x)
    executions = Executions(gather, plan(10, 4, 2), Share(), lambda: (0, 0))
    state = torch.get_rng_state()
    epochs = [[(features, labels) for call in executions for features, labels in call] for _ in range(2)]
    assert torch.equal(state, torch.get_rng_state())
    assert [len(labels) for _, labels in epochs[0]] == [4, 4, 2]
    order = [index for call in plan(10, 4, 2).batches(0, 0) for indices in call for index in indices.tolist()]
    for batches in epochs:
        features = torch.cat([features for features, _ in batches])
        assert torch.equal(features, torch.stack([dataset[index][0] for index in order]))
