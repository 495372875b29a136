import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from limner.errors import ConfigError
from limner.recipe.plan import Plan, plan_of


@pytest.fixture
def plan(make_recipe, tmp_path):
    return plan_of(make_recipe(), tmp_path / "new")


def test_a_plan_counts_what_a_run_holds(plan, tmp_path):
    weights = plan.derived["parameters"] * 4
    assert plan.memory["gradients"] == weights
    assert weights <= plan.memory["weights"] <= 1.05 * weights  # and statistics
    assert plan.memory["optimizer"] >= 2 * weights
    assert plan.memory["average"] == plan.memory["weights"]
    assert plan.memory["task"] > 0  # teacher and queue
    assert plan.memory["activations"] > 0
    assert plan.gflops_per_sample > 0
    assert plan.hours == pytest.approx(3 * plan.seconds_per_step / 3600)
    assert plan.epoch_steps == 5
    assert not (tmp_path / "new").exists()
    plan.require_fit()


def test_activations_grow_with_the_batch(make_recipe, tmp_path):
    small, large = (
        plan_of(make_recipe(f"train.batch_size={n}", "objective.queue_size=16"), tmp_path).memory[
            "activations"
        ]
        for n in (4, 16)
    )
    assert large == pytest.approx(4 * small, rel=0.35)


def test_flops_are_those_of_the_products():
    """A plain network by hand: forward 2·m·k·n, backward twice that."""
    layer = torch.nn.Linear(5, 7)
    x = torch.randn(3, 5, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        layer(x).sum().backward()
    assert counter.get_total_flops() == 3 * 2 * 3 * 5 * 7


@pytest.mark.parametrize(
    ("memory", "disk", "message", "hint"),
    [
        ({"weights": 10, "activations": 10**13}, 1, "of memory on", "train.batch_size=1"),
        ({"weights": 10**13, "activations": 1}, 1, "of memory on", "a smaller model"),
        ({"weights": 1, "activations": 1}, 10**15, "checkpoints take", "train.keep=1"),
    ],
)
def test_a_plan_that_cannot_fit_names_the_knob(plan: Plan, memory, disk, message, hint):
    plan = plan._replace(memory=memory, disk=disk)
    with pytest.raises(ConfigError, match=message) as caught:
        plan.require_fit()
    assert hint in str(caught.value)
