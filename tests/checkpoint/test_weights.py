import subprocess
import sys

import pytest
import torch
from torch import nn

from limner.checkpoint import built_with, load_weights, narrowed, stored_weights
from limner.errors import CheckpointError
from limner.models import ARCHITECTURES, MODELS, Architecture
from limner.models.blip import BLIP
from limner.models.resnet import ResNet, ResNetConfig

SMALL = ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=3, stem="cifar")


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 3)
        self.other = self.one
        self.register_buffer("seen", torch.tensor(2))


def test_tied_weights_are_stored_once_and_stay_tied():
    source, target = Tied(), Tied()
    weights = stored_weights(source)
    assert list(weights) == ["seen", "one.weight", "one.bias"]
    load_weights(target, weights, "x")
    assert torch.equal(target.other.weight, source.one.weight)
    assert target.other.weight is target.one.weight


def test_missing_and_unexpected_keys_are_fatal():
    weights = stored_weights(nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=r"x\.st: 1 missing keys \['bias'\], 1 others \['extra'\]"):
        load_weights(nn.Linear(2, 2), {"weight": weights["weight"], "extra": torch.zeros(1)}, "x.st")


def test_another_shape_is_fatal():
    with pytest.raises(CheckpointError, match=r"weight has shape \(2, 3\)"):
        load_weights(nn.Linear(2, 2), stored_weights(nn.Linear(3, 2)), "x.st")


def test_numbers_of_another_kind_are_fatal():
    weights = stored_weights(Tied())
    with pytest.raises(CheckpointError, match=r"seen holds torch\.float32"):
        load_weights(Tied(), weights | {"seen": torch.tensor(2.0)}, "x.st")


def test_a_model_is_built_of_its_weights_alone():
    model = ResNet(SMALL)
    state = torch.get_rng_state()
    tensors = {key: tensor.clone() for key, tensor in stored_weights(model).items()}
    kept = dict(tensors)
    built = built_with(SMALL, tensors, "x")
    assert torch.equal(torch.get_rng_state(), state)  # nothing was drawn
    assert tensors == {}
    assert not built.training
    for name, tensor in built.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
        assert tensor.data_ptr() == kept[name].data_ptr(), name  # and nothing was copied
    assert all(parameter.requires_grad for parameter in built.parameters())
    assert built.bn1.num_batches_tracked.dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_fp32_and_integers_stay(dtype):
    stored = stored_weights(ResNet(SMALL))
    tensors = {key: t.to(dtype) if t.is_floating_point() else t.int() for key, t in stored.items()}
    built = built_with(SMALL, dict(tensors), "x").state_dict()
    assert {tensor.dtype for tensor in built.values()} == {torch.float32, torch.int64}
    for key, tensor in tensors.items():
        assert torch.equal(built[key], tensor.to(built[key].dtype)), key


def test_ties_of_a_blip_hold_and_untied_weights_stay_apart():
    config = _small_blip()
    tensors = dict(stored_weights(BLIP(config)))
    shared = tensors["text_encoder.self_attention.0.qkv.weight"]
    tensors["text_decoder.self_attention.0.qkv.weight"] = shared  # one memory for two weights
    built = built_with(config, tensors, "x")
    encoder, decoder = built.text_encoder, built.text_decoder
    assert decoder.mlp[0].fc1.weight is encoder.mlp[0].fc1.weight
    one, other = (tower.self_attention[0].qkv.weight for tower in (encoder, decoder))
    assert torch.equal(one, other)
    assert one.data_ptr() != other.data_ptr()


def _small_blip():
    values = MODELS["limner_tiny"].config.model_dump()
    sizes = {"width": 16, "depth": 1, "num_heads": 2, "mlp_dim": 32}
    values["vision"] |= sizes | {"stem": (8,), "image_size": 16}
    values["text"] |= sizes | {"vocab_size": 160, "memory_width": 16, "max_positions": 16}
    return type(MODELS["limner_tiny"].config).model_validate(values)


class Hidden(ResNet):
    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("mask", torch.ones(2), persistent=False)


def test_what_no_file_holds_is_never_left_hollow(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "resnet", Architecture(ResNetConfig, Hidden))
    with pytest.raises(CheckpointError, match=r"no values for \['mask'\]"):
        built_with(SMALL, stored_weights(ResNet(SMALL)), "x")


def test_a_weight_too_large_for_half_precision_is_refused():
    large = torch.tensor([1.0, 70000.0, float("inf")])
    with pytest.raises(CheckpointError, match=r"7e\+04 does not fit fp16"):
        narrowed(large, "fp16")
    assert narrowed(large, "bf16").dtype == torch.bfloat16
    assert narrowed(torch.tensor(3), "fp16").dtype == torch.int64


MEASURE = """
import sys
from limner.checkpoint import load
def peak():  # ru_maxrss would count the parent's, before the exec
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
load("limner_tiny")
before = peak()
load(sys.argv[1])
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("dtype", "most"), [("fp32", 1.25), ("fp16", 1.6)])
def test_opening_takes_the_memory_of_the_weights_once(tmp_path, dtype, most):
    from limner.checkpoint import save_bundle
    from limner.models import entry

    line = entry("wide_resnet50_2")
    save_bundle(tmp_path / "m", line.build(line.config), "", line.config, line.image_spec, dtype=dtype)
    weights = sum(p.numel() for p in line.build(line.config).parameters()) * 4 / 2**20
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "m")], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < most * weights  # fp32 is mapped, and read when it is used
