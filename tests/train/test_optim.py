import copy
import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from limner.errors import CheckpointError, ConfigError
from limner.models.blip import BLIP
from limner.train.optim import (
    Learners,
    OptimSettings,
    build_optimizer,
    layer_of,
    learning,
    load_optimizer,
    lr_at,
    lr_scales,
    optimizer_tensors,
    param_groups,
    set_lr,
)


def test_lr_rises_to_its_peak_and_falls_to_its_last_value():
    settings = OptimSettings(lr=1.0, final_lr=0.1, warmup_steps=4)
    rates = [lr_at(step, settings, 11) for step in range(11)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[7] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 2)) / 2)
    assert rates[10] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_lr_of_a_run_that_is_all_warm_up():
    settings = OptimSettings(lr=1.0, warmup_steps=10)
    assert [lr_at(step, settings, 2) for step in range(2)] == [0.1, 0.2]


def test_only_matrices_and_filters_decay(blip_config):
    model = BLIP(blip_config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, kept = (
        [names[id(p)] for p in group["params"]]
        for group in param_groups(model, OptimSettings(weight_decay=0.05))
    )
    assert sorted(decayed + kept) == sorted(names.values())
    assert {"temperature", "vision.pos_embed", "vision.cls_token", "lm_head.bias"} <= set(kept)
    assert "text_encoder.embeddings.positions.weight" in kept
    assert {
        "text_encoder.embeddings.words.weight",
        "vision.patch_embed.proj.weight",
        "itm_head.weight",
    } <= set(decayed)
    assert not [name for name in decayed if "norm" in name or name.endswith("bias")]


def test_frozen_parameters_are_in_no_group():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    assert [len(group["params"]) for group in param_groups(model, OptimSettings(weight_decay=0.1))] == [1]


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("linear", [1.0, 0.8, 0.6, 0.4, 0.2, 0.0]),
        ("exponential", [1.0, 0.01**0.2, 0.01**0.4, 0.01**0.6, 0.01**0.8, 0.01]),
        ("constant", [1.0] * 6),
        ("step", [1.0, 1.0, 1.0, 0.1, 0.1, 0.01]),
    ],
)
def test_schedules_after_the_warm_up(schedule, wanted):
    final = 0.0 if schedule == "linear" else 0.01
    settings = OptimSettings(
        lr=1.0, warmup_steps=0, schedule=schedule, final_lr=final, milestones=(0.5, 0.75)
    )
    assert [lr_at(step, settings, 6) for step in range(6)] == pytest.approx(wanted)


def test_the_warm_up_may_begin_above_zero():
    settings = OptimSettings(lr=1.0, warmup_steps=4, warmup_from=0.2)
    assert [lr_at(step, settings, 20) for step in range(4)] == pytest.approx([0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("milestones", [(0.5, 0.2), (0.0,), (1.0,), (30.0,)])
def test_milestones_are_rising_fractions(milestones):
    with pytest.raises(ValidationError, match="rising fractions"):
        OptimSettings(milestones=milestones)


def test_what_was_not_said_is_not_written():
    """Runs of before keep their digests."""
    assert OptimSettings().model_dump().keys() == {
        "lr",
        "final_lr",
        "warmup_steps",
        "weight_decay",
        "beta1",
        "beta2",
        "eps",
        "clip_norm",
        "average",
    }
    assert OptimSettings(name="sgd").model_dump()["name"] == "sgd"


def test_everything_decays_when_asked():
    [group] = param_groups(nn.Linear(2, 2), OptimSettings(weight_decay=0.1, decay_all=True))
    assert len(group["params"]) == 2


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vision.cls_token", 0),
        ("patch_embed.proj.weight", 0),
        ("text.words.weight", 0),
        ("text_encoder.embeddings.norm.bias", 0),
        ("conv1.weight", 0),
        ("blocks.0.norm1.weight", 1),
        ("vision.blocks.11.attn.qkv.bias", 12),
        ("text_encoder.self_attention.3.out.weight", 4),
        ("text_decoder.mlp.2.fc1.weight", 3),
        ("layer3.5.conv1.weight", 3),
        ("norm.weight", None),
        ("head.weight", None),
        ("vision_proj.weight", None),
        ("temperature", None),
    ],
)
def test_layers_are_told_by_names(name, layer):
    assert layer_of(name) == layer


def test_layer_decay_falls_from_the_head_by_tower():
    names = [
        "vision.cls_token",
        "vision.blocks.0.a",
        "vision.blocks.1.a",
        "vision.norm.weight",
        "text.words.w",
    ]
    scales = lr_scales([*names, "text.blocks.0.a", "head.weight"], 0.5)
    assert list(scales.values()) == [0.125, 0.25, 0.5, 1.0, 0.25, 0.5, 1.0]
    assert set(lr_scales(names, 1.0).values()) == {1.0}


def test_each_group_gets_its_share_of_the_rate(blip_config):
    model = BLIP(blip_config)
    optimizer = build_optimizer(model, OptimSettings(layer_decay=0.5))
    set_lr(optimizer, 1.0)
    rates = {
        name: group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
        for name, other in model.named_parameters()
        if other is parameter
    }
    assert rates["itm_head.weight"] == 1.0
    assert rates["vision.blocks.0.norm1.weight"] == 0.5
    assert rates["vision.cls_token"] == 0.25
    assert rates["text_encoder.embeddings.words.weight"] == 0.125


def test_sgd_is_torch_s():
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(one.state_dict())
    settings = OptimSettings(name="sgd", lr=0.1, weight_decay=1e-4, decay_all=True, nesterov=True)
    ours = build_optimizer(one, settings)
    theirs = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    x = torch.randn(4, 3)
    for _ in range(3):
        for model, optimizer in ((one, ours), (other, theirs)):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(one.weight, other.weight)


class Two(nn.Module):
    """A body with a batch norm, and a head."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        self.head = nn.Linear(2, 1)

    def forward(self, x):
        return self.head(self.body(x))


def test_what_rests_all_run_has_no_gradient_and_still_statistics():
    model = Two()
    learners = Learners(model, OptimSettings(only=("head.*",)))
    learners.settle(0)
    model(torch.randn(4, 2)).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == [
        "head.weight",
        "head.bias",
    ]
    assert int(model.body[1].num_batches_tracked) == 0
    assert model.training
    assert [len(g["params"]) for g in build_optimizer(model, OptimSettings()).param_groups] == [1, 1]


def test_the_head_learns_first_and_then_all():
    """LP-FT: the body rests for `only_steps` steps."""
    model = Two()
    learners = Learners(model, OptimSettings(only=("head.*",), only_steps=3))
    for step, learn in ((0, False), (2, False), (3, True)):
        model.zero_grad()
        learners.settle(step)
        assert model.body[1].training == learn
        model(torch.randn(4, 2)).sum().backward()
        learners.rest(step)
        assert (model.body[0].weight.grad is not None) == learn
        assert model.head.weight.grad is not None


def test_a_pattern_that_names_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"'haed\.\*' names no parameter of Two") as caught:
        learning(Two(), ("haed.*",))
    assert "body, head" in str(caught.value)


def test_optimizer_state_travels_by_name():
    inputs = torch.randn(4, 3)
    first = nn.Linear(3, 2)
    optimizer = build_optimizer(first, OptimSettings())
    _step(first, optimizer, inputs)
    second = copy.deepcopy(first)
    restored = build_optimizer(second, OptimSettings())
    load_optimizer(restored, second, {k: v.clone() for k, v in optimizer_tensors(optimizer, first).items()})
    for model, each in ((first, optimizer), (second, restored)):
        _step(model, each, inputs)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)


def test_optimizer_state_of_another_model_is_refused():
    model = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="optimizer state of 'head'"):
        load_optimizer(build_optimizer(model, OptimSettings()), model, {"head/exp_avg": torch.zeros(2)})


def test_loaded_state_lies_in_memory_as_its_parameter_does():
    """Fused optimisers walk over raw memory: a state in another order would be another state."""
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(model, OptimSettings())
    for _ in range(2):
        model(torch.randn(2, 3, 8, 8)).square().sum().backward()
        optimizer.step()
    tensors = {name: t.clone().contiguous() for name, t in optimizer_tensors(optimizer, model).items()}
    other = copy.deepcopy(model)
    loaded = build_optimizer(other, OptimSettings())
    load_optimizer(loaded, other, tensors)
    assert loaded.state[other.weight]["exp_avg"].stride() == other.weight.stride()
    other.weight.grad, other.bias.grad = model.weight.grad.clone(), model.bias.grad.clone()
    optimizer.step()
    loaded.step()
    assert torch.equal(model.weight, other.weight)


@pytest.mark.parametrize(("schedule", "final"), [("cosine", 0.0), ("linear", 0.1), ("exponential", 0.9**4)])
def test_stairs_stand_still_for_an_epoch(schedule, final):
    settings = OptimSettings(lr=2.0, schedule=schedule, final_lr=final, warmup_steps=3, stair_steps=10)
    rates = [lr_at(step, settings, 40) for step in range(40)]
    assert rates[:3] == pytest.approx([2 / 3, 4 / 3, 2.0])
    wanted = {
        "cosine": [1 + math.cos(math.pi * k / 4) for k in range(4)],
        "linear": [2 * (0.1 + 0.9 * (1 - k / 4)) for k in range(4)],
        "exponential": [2 * 0.9**k for k in range(4)],  # BLIP's: times 0.9 an epoch
    }[schedule]
    assert rates[3:] == pytest.approx([rate for rate in wanted for _ in range(10)][3:])


def _step(model, optimizer, inputs):
    optimizer.zero_grad()
    model(inputs).square().sum().backward()
    optimizer.step()
