import copy
import math

import pytest
import torch
from torch import nn

from limner.errors import CheckpointError
from limner.models.blip import BLIP
from limner.train.optim import (
    OptimSettings,
    WeightAverage,
    build_optimizer,
    load_optimizer,
    lr_at,
    optimizer_tensors,
    param_groups,
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
    decayed, kept = ([names[id(p)] for p in group["params"]] for group in param_groups(model, 0.05))
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
    assert [len(group["params"]) for group in param_groups(model, 0.1)] == [1, 0]


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


def test_average_follows_the_equation_and_copies_buffers():
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, 0.5)
    expected = torch.ones(2)
    for step in range(9):
        with torch.no_grad():
            model.weight.add_(1.0)
        model(torch.randn(4, 2))
        average.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    torch.testing.assert_close(average.model.weight, expected)
    assert torch.equal(average.model.running_mean, model.running_mean)
    assert average.model.num_batches_tracked == 9
    assert not average.model.training
    assert not average.model.weight.requires_grad


def test_no_average_is_the_model_itself():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, 0.0)
    with torch.no_grad():
        model.weight.fill_(3.0)
    average.update(model, 0)
    assert torch.equal(average.model.weight, model.weight)


def _step(model, optimizer, inputs):
    optimizer.zero_grad()
    model(inputs).square().sum().backward()
    optimizer.step()
