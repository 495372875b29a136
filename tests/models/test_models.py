"""The contract every model keeps."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limner.config import Config
from limner.errors import ConfigError
from limner.models import MODELS, build, entry
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig, BLIPOutput
from limner.models.resnet import ResNetConfig, ResNetOutput
from limner.models.vit import ViTConfig, ViTOutput

PARAMETERS = {  # papers.md: He Table 1 as torchvision has it; ViT at 224 px, 1000 classes; BLIP Table 3
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "vit_ti16": 5_717_416,
    "vit_s16": 22_050_664,
    "vit_b16": 86_567_656,
    "vit_b32": 88_224_232,
    "vit_l16": 304_326_632,
    "blip_base": 252_441_919,
    "limner_tiny": 4_060_479,
}

TEXT = BertConfig(
    vocab_size=40, width=16, depth=2, num_heads=2, mlp_dim=24, max_positions=12, memory_width=24, dropout=0.1
)
VISION = ViTConfig(image_size=32, patch_size=8, width=24, depth=2, num_heads=3, mlp_dim=32, num_classes=5)
HYBRID = VISION.model_copy(update={"stem": (8, 12), "drop_path": 0.3, "num_classes": 0})
SMALL: dict[str, Config] = {
    "resnet_basic": ResNetConfig(block="basic", depths=(2, 1), widths=(8, 16), num_classes=5),
    "resnet_bottleneck": ResNetConfig(block="bottleneck", depths=(1, 2), widths=(8, 8), num_classes=0),
    "vit": VISION,
    "vit_hybrid": HYBRID,
    **{
        f"blip_{sharing}": BLIPConfig.model_validate(
            {"vision": HYBRID, "text": TEXT, "embed_dim": 8, "sharing": sharing}
            | {"cls_id": 2, "sep_id": 3, "dec_id": 5, "enc_id": 6}
        )
        for sharing in ("all", "all_but_self_attention", "all_but_cross_attention", "none")
    },
}
OUTPUTS = {ResNetConfig: ResNetOutput, ViTConfig: ViTOutput, BLIPConfig: BLIPOutput}


def inputs(config: Config, batch: int) -> tuple[Tensor, ...]:
    size = {ViTConfig: lambda c: c.image_size, BLIPConfig: lambda c: c.vision.image_size}
    side = size.get(type(config), lambda _: 32)(config)
    pixels = torch.randn(batch, 3, side, side)
    if not isinstance(config, BLIPConfig):
        return (pixels,)
    ids = torch.randint(7, config.text.vocab_size, (batch, 9))
    return pixels, ids, torch.arange(9) < torch.tensor([[9], [4], [7]])[:batch]


@pytest.fixture(params=SMALL)
def config(request: pytest.FixtureRequest) -> Config:
    return SMALL[request.param]


@pytest.mark.parametrize("name", MODELS)
def test_named_model_has_its_size_and_reads_pictures_of_its_spec(name: str) -> None:
    found = entry(name)
    with torch.device("meta"):
        model = build(name)
        pixels = torch.empty(2, 3, found.image_spec.size, found.image_spec.size)
        rest = [torch.zeros(2, 6, dtype=torch.int64)] if isinstance(model, BLIP) else []
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    output = model(pixels, *rest)
    assert type(output) is OUTPUTS[type(found.config)]
    last = (2, 6, found.config.text.vocab_size) if isinstance(found.config, BLIPConfig) else (2, 1000)
    assert tuple(output[-1].shape) == last


def test_every_parameter_gets_a_gradient(config: Config) -> None:
    model = build(config)
    sum(part.pow(2).mean() for part in model(*inputs(config, 3)) if part.numel()).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == ({"temperature"} if isinstance(config, BLIPConfig) else set())  # the loss divides by it


def test_eval_is_deterministic_and_rows_are_independent(config: Config) -> None:
    model = build(config).eval()
    batch = inputs(config, 3)
    with torch.no_grad():
        once, again = model(*batch), model(*batch)
        alone = model(*(x[1:2] for x in batch))
    for first, second, one in zip(once, again, alone, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first[1:2], one, atol=1e-5, rtol=1e-4)


def test_weights_survive_safetensors(config: Config, tmp_path: Path) -> None:
    model, other = build(config).eval(), build(config).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")  # refuses tensors that share memory
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    batch = inputs(config, 2)
    for ours, theirs in zip(model(*batch), other(*batch), strict=True):
        assert torch.equal(ours, theirs)


def test_state_holds_each_parameter_once(config: Config) -> None:
    model = build(config)
    state = {name for name, _ in model.named_parameters()} | {name for name, _ in model.named_buffers()}
    assert set(model.state_dict()) == state


def test_deep_copy_is_independent(config: Config) -> None:
    model = build(config).eval()
    batch = inputs(config, 2)
    twin = copy.deepcopy(model)
    before = [part.clone() for part in model(*batch)]
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    for part, was in zip(model(*batch), before, strict=True):
        assert torch.equal(part, was)
    changed = [not torch.equal(a, b) for a, b in zip(twin(*batch), before, strict=True) if a.numel()]
    assert all(changed)


def test_same_seed_same_weights(config: Config) -> None:
    states: list[dict[str, Any]] = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(build(config).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("name", MODELS)
def test_configs_survive_json(name: str) -> None:
    config = MODELS[name].config
    assert type(config).model_validate_json(config.model_dump_json()) == config


def test_every_kind_of_named_model_is_in_the_battery() -> None:
    assert {type(line.config) for line in MODELS.values()} == {type(config) for config in SMALL.values()}


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="resnet50"):
        build("resnet-50")


def test_config_of_no_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="ViTConfig"):
        build(Config())


def test_build_from_config_gives_the_module_of_that_config() -> None:
    assert isinstance(build(TEXT), nn.Module)
    assert build(TEXT).config == TEXT
