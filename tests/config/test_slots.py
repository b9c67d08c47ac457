import pytest
import torch

from assay.config.compose import compose
from assay.config.slots import build, judge_slot, try_slot
from assay.errors import UserError

ADAM = {"_target_": "torch.optim.Adam", "lr": 0.01, "betas": [0.9, 0.99]}
SHAPE = (1, 28, 28)


def test_what_the_signature_knows_is_supplied() -> None:
    network = build(compose("train", []).model, "model", in_shape=SHAPE, num_classes=7, seed=3)
    assert network.linear2.out_features == 7


def test_the_optimizer_gets_the_parameters_themselves() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = build(ADAM, "optimizer", params=[weight])
    assert optimizer.param_groups[0]["params"][0] is weight
    assert optimizer.param_groups[0]["betas"] == [0.9, 0.99] or optimizer.param_groups[0]["betas"] == (
        0.9,
        0.99,
    )


def test_no_target_is_nothing() -> None:
    assert build({"_target_": None}, "scheduler", optimizer=None, total_steps=1) is None
    assert not judge_slot({"_target_": None}, "scheduler")
    assert judge_slot({"_target_": None}, "model")


def test_a_config_may_set_the_classes_but_not_the_shape() -> None:
    node = {"_target_": "assay.models.mlp.MNISTClassifier", "num_classes": 12}
    assert build(node, "model", in_shape=SHAPE, num_classes=10).linear2.out_features == 12
    with pytest.raises(UserError, match="Assay itself supplies in_shape"):
        build(node | {"in_shape": [3, 3]}, "model", in_shape=SHAPE, num_classes=10)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lr": "abc"}, "optimizer.lr=abc is not allowed: a number"),
        ({"epss": 1e-7}, "did you mean optimizer.eps?"),
        ({"betas": [0.9]}, "a list of 2 values"),
        ({"params": []}, "Assay itself supplies params"),
        ({"_partial_": True}, "optimizer._partial_ is not allowed"),
        ({"_args_": [1]}, "optimizer._args_ is not allowed"),
        ({"_target_": "torch.optim.Adma"}, "did you mean torch.optim.Adam?"),
        ({"_target_": "torch.nn.Linear"}, "Linear is no torch.optim.optimizer.Optimizer"),
        ({"lr": float("nan")}, "optimizer.lr=nan"),
    ],
)
def test_a_wrong_key_or_value_is_named(changes: dict[str, object], says: str) -> None:
    assert says in "\n".join(problem.text for problem in judge_slot(ADAM | changes, "optimizer"))


def test_a_range_that_only_the_constructor_knows() -> None:
    (problem,) = try_slot(ADAM | {"lr": -1}, "optimizer")
    assert problem.text.startswith("optimizer.lr=-1: torch.optim.Adam refuses its values")
    assert "Invalid learning rate: -1" in problem.text


def test_the_exceptions_own_text_is_kept() -> None:
    node = {"_target_": "assay.models.cnn.CNN"}
    with pytest.raises(UserError, match=r"a CNN needs images of shape \(channels, height, width\)"):
        build(node, "model", in_shape=(3,), num_classes=2)


def test_a_missing_argument_is_said_with_the_word_that_adds_it() -> None:
    (problem,) = judge_slot({"_target_": "torch.optim.lr_scheduler.StepLR"}, "scheduler")
    assert "scheduler.step_size is missing" in problem.what
    assert "+scheduler.step_size=" in problem.text


def test_a_class_of_torch_works_as_a_schedule() -> None:
    optimizer = build(ADAM, "optimizer", params=[torch.nn.Parameter(torch.zeros(2))])
    node = {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 2}
    assert build(node, "scheduler", optimizer=optimizer, total_steps=9).step_size == 2
