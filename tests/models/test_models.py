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
from limner.models.axial import AxialResNetConfig, AxialViTConfig, AxialViTOutput
from limner.models.bag_of_words import BagOfWordsConfig, BagOfWordsOutput
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig, BLIPOutput
from limner.models.blip_nlvr2 import BLIPNLVR2, BLIPNLVR2Config, BLIPNLVR2Output
from limner.models.blip_vqa import BLIPVQA, BLIPVQAConfig, BLIPVQAOutput
from limner.models.clip import CLIP, CLIPConfig, CLIPOutput, CLIPTextConfig
from limner.models.clip_resnet import CLIPResNetConfig
from limner.models.convirt import ConVIRT, ConVIRTConfig, ConVIRTOutput
from limner.models.cordonnier import CordonnierConfig, CordonnierOutput
from limner.models.detector import Detector, DetectorConfig, DetectorOutput
from limner.models.icmlm import ICMLM, ICMLMConfig, ICMLMOutput
from limner.models.local_attention import LocalAttentionConfig
from limner.models.masked_patch import MASK, MaskedPatch, MaskedPatchConfig, MaskedPatchOutput
from limner.models.ngrams import NGramsConfig, NGramsOutput
from limner.models.resnet import ResNetConfig, ResNetOutput
from limner.models.virtex import VirTex, VirTexConfig, VirTexOutput
from limner.models.vit import ViTConfig, ViTOutput


def _layer(width: int, mlp_dim: int, attentions: int = 2) -> int:
    """Parameters of a post-norm layer: attentions, MLP and a norm behind each."""
    attention = 4 * width * (width + 1) + 2 * width
    return attentions * attention + 2 * width * mlp_dim + width + mlp_dim + 2 * width


BERT_LAYER = _layer(768, 3072, attentions=1)
BERT = (30_522 + 512 + 2) * 768 + 12 * BERT_LAYER  # without token types and pooler
VIRTEX_GRID = 2049 * 2048
VIRTEX_WORDS = (10_030 + 2) * 2048 + 10_000
VIRTEX_LAYER = _layer(2048, 8192)

PARAMETERS = {  # papers.md: He Table 1 as torchvision has it; ViT at 224 px, 1000 classes; BLIP Table 3
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet50_v1": 25_557_032,
    "resnet101_v1": 44_549_160,
    "resnet152_v1": 60_192_808,
    "resnet34_a": 21_623_848,
    "resnet34_c": 22_716_840,
    "plain18": 11_515_688,
    "plain34": 21_623_848,
    "plain50": 22_780_456,
    "plain101": 41_772_584,
    "plain152": 57_416_232,
    "wide_resnet50_2": 68_883_240,
    "wide_resnet101_2": 126_886_696,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x4d": 44_177_704,
    "resnext101_32x8d": 88_791_336,
    "resnext101_64x4d": 83_455_272,
    "cifar_resnet20": 269_722,
    "cifar_resnet32": 464_154,
    "cifar_resnet44": 658_586,
    "cifar_resnet56": 853_018,
    "cifar_resnet110": 1_727_962,
    "cifar_resnet1202": 19_421_274,
    "cifar_plain20": 269_722,
    "cifar_plain32": 464_154,
    "cifar_plain44": 658_586,
    "cifar_plain56": 853_018,
    "cifar_plain110": 1_727_962,
    "vit_ti16": 5_717_416,
    "vit_ti16_384": 5_790_376,
    "vit_s32": 22_878_952,
    "vit_s32_384": 22_915_432,
    "vit_s16": 22_050_664,
    "vit_s16_384": 22_196_584,
    "vit_b32": 88_224_232,
    "vit_b32_384": 88_297_192,
    "vit_b16": 86_567_656,
    "vit_b16_384": 86_859_496,
    "vit_b8": 86_576_872,
    "vit_l32": 306_535_400,
    "vit_l32_384": 306_632_680,
    "vit_l16": 304_326_632,
    "vit_l16_384": 304_715_752,
    "vit_l16_512": 305_174_504,
    "vit_h14": 632_045_800,
    "vit_h14_518": 633_470_440,
    "vit_r_ti16": 6_337_704,
    "vit_r_ti16_384": 6_355_944,
    "vit_r26_s32": 36_431_912,
    "vit_r26_s32_384": 36_468_392,
    "vit_r50_b16": 97_890_112 + 769_000,
    "vit_r50_b16_384": 98_950_952,
    "vit_r50_l32": 328_994_856,
    "vit_r50_l32_384": 329_092_136,
    "deit_ti16": 5_717_416,
    "deit_s16": 22_050_664,
    "deit_b16": 86_567_656,
    "deit_b16_384": 86_859_496,
    "deit_ti16_distilled": 5_910_800,
    "deit_s16_distilled": 22_436_432,
    "deit_b16_distilled": 87_338_192,
    "deit_b16_384_distilled": 87_630_032,
    "local_attention26": 10_342_632,
    "local_attention38": 14_190_632,
    "local_attention50": 18_038_632,
    "local_attention_small": 372_106,
    "axial_resnet26_s": 5_944_936,
    "axial_resnet50_s": 11_586_216,
    "axial_resnet50_m": 25_179_400,
    "axial_resnet50_l": 43_973_480,
    "axial_resnet_small": 213_018,
    "axial_vit_b32": 173_277_160,
    "axial_vit_b16": 171_620_584,
    "axial_vit_small": 2_400_202,
    "cordonnier": 12_086_844,
    "cordonnier_learned": 12_278_682,
    "cordonnier_content": 29_601_882,
    "cordonnier_small": 391_963,
    "masked_patch_b16": 85_798_656 + 768 + 769 * 512,
    # encoder without its classifier, and a matrix with or without a bias
    "bag_of_words_resnet50": 23_508_032 + 2049 * 10_000,
    "bag_of_words_vit_b32": 87_455_232 + 769 * 10_000,
    "ngrams_resnet34": 21_284_672 + 512 * 142_806,
    "ngrams_vit_b32": 87_455_232 + 768 * 142_806,
    "virtex_resnet50": 23_508_032 + VIRTEX_GRID + VIRTEX_WORDS + 2 * VIRTEX_LAYER,
    "virtex_resnet50_forward": 23_508_032 + VIRTEX_GRID + VIRTEX_WORDS + VIRTEX_LAYER,
    "virtex_vit_b32": 87_455_232 + 769 * 1024 + (10_030 + 2) * 1024 + 10_000 + 2 * _layer(1024, 4096),
    "icmlm_tp_resnet50": 23_508_032 + 2049 * 1000,
    "icmlm_att_fc_resnet50": 23_508_032
    + 2049 * 1000
    + BERT
    + 2 * 769 * 768
    + 2 * 2049 * 768
    + 2 * 768
    + 769 * 1000,
    "icmlm_resnet50": 23_508_032 + 2049 * 1000 + BERT + 2049 * 768 + 4 * 768 + BERT_LAYER + 769 * 1000,
    "icmlm_vit_b32": 87_455_232 + 769 * 1000 + BERT + 769 * 768 + 4 * 768 + BERT_LAYER + 769 * 1000,
    "convirt_resnet50": 23_508_032 + 2049 * (2048 + 512) + 769 * (768 + 512) + BERT - (30_522 - 28_996) * 768,
    "convirt_vit_b32": 87_455_232 + 2 * 769 * (768 + 512) + BERT - (30_522 - 28_996) * 768,
    "faster_rcnn_resnet18_fpn": 28_688_356,
    "faster_rcnn_resnet50_fpn": 41_755_286 + 53_120,  # torchvision counts no batch norm, frozen there
    "faster_rcnn_small": 779_656,
    "clip_rn50": 102_007_137,
    "clip_rn101": 119_688_033,
    "clip_rn50x4": 178_300_601,
    "clip_rn50x16": 290_979_217,
    "clip_rn50x64": 623_258_305,
    "clip_vit_b32": 151_277_313,
    "clip_vit_b16": 149_620_737,
    "clip_vit_l14": 427_616_513,
    "clip_vit_l14_336": 427_944_193,
    "clip_vit_s32": 63_085_825,
    "clip_vit_s16": 62_257_537,
    "clip_vit_s32_alt": 43_224_449,
    "clip_vit_s16_alt": 42_396_161,
    "clip_vit_m32": 103_119_873,
    "clip_vit_m16": 102_015_489,
    "clip_vit_m32_alt": 80_070_273,
    "clip_vit_b32_gelu": 151_277_313,
    "clip_vit_b32_256": 151_288_833,
    "clip_vit_b16_gelu": 149_620_737,
    "clip_vit_b32_plus_256": 210_297_473,
    "clip_vit_b16_plus": 208_351_361,
    "clip_vit_b16_plus_240": 208_377_345,
    "clip_vit_l16": 427_739_393,
    "clip_vit_l16_320": 427_948_289,
    "clip_vit_l14_gelu": 427_616_513,
    "clip_vit_l14_280": 427_763_969,
    "clip_vit_l14_336_gelu": 427_944_193,
    "clip_vit_h16": 986_263_041,
    "clip_vit_h14": 986_109_441,
    "clip_vit_h14_quickgelu": 986_109_441,
    "clip_vit_h14_378": 986_714_881,
    "clip_vit_h14_378_quickgelu": 986_714_881,
    "clip_vit_g14": 1_366_678_273,
    "clip_vit_bigg14": 2_539_567_105,
    "clip_vit_bigg14_quickgelu": 2_539_567_105,
    "clip_vit_e14": 4_581_086_465,
    "blip_base": 252_441_919,
    "blip_large": 474_729_023,
    "blip_base_caption": 223_971_644,
    "blip_large_caption": 446_290_492,
    "blip_base_retrieval": 223_744_258 + 1,  # the temperature
    "blip_large_retrieval": 446_128_642 + 1,
    "blip_base_vqa": 361_478_972,
    "blip_base_nlvr2": 259_372_034,
    "limner_tiny": 4_060_479,
}

TEXT = BertConfig(
    vocab_size=40, width=16, depth=2, num_heads=2, mlp_dim=24, max_positions=12, memory_width=24, dropout=0.1
)
VISION = ViTConfig(image_size=32, patch_size=8, width=24, depth=2, num_heads=3, mlp_dim=32, num_classes=5)
HYBRID = VISION.model_copy(update={"stem": (8, 12), "drop_path": 0.3, "num_classes": 0})
CLIP_TEXT = CLIPTextConfig(vocab_size=40, context_length=12, width=24, depth=2, num_heads=2, mlp_dim=32)
CLIP_RESNET = CLIPResNetConfig(depths=(1, 1, 2, 1), width=8, image_size=32, num_heads=4, embed_dim=16)
PRIOR_TEXT = TEXT.model_copy(update={"memory_width": 16})
PRIOR_VIT = VISION.model_copy(update={"num_classes": 0})
PRIOR_RESNET = ResNetConfig(block="basic", depths=(1, 1), widths=(8, 16), num_classes=0)
SMALL: dict[str, Config] = {
    "resnet_basic": ResNetConfig(block="basic", depths=(2, 1), widths=(8, 16), num_classes=5),
    **{
        f"resnet_{shortcut}": ResNetConfig.model_validate(
            {"block": "basic", "depths": (2, 1), "widths": (8, 16), "num_classes": 5, "drop_path": 0.3}
            | {"stem": "cifar", "shortcut": shortcut}
        )
        for shortcut in ("none", "A", "C")
    },
    "resnet_v1": ResNetConfig(
        block="bottleneck",
        depths=(1, 2),
        widths=(8, 8),
        stride_on="1x1",
        groups=2,
        base_width=32,
        pool="ceil",
    ),
    "resnet_bottleneck": ResNetConfig(block="bottleneck", depths=(1, 2), widths=(8, 8), num_classes=0),
    "vit": VISION,
    "vit_hybrid": HYBRID,
    **{
        f"vit_{name}": VISION.model_copy(update=change)
        for name, change in {
            "distilled": {"distilled": True, "position": "2d", "position_at": "every"},
            "gap": {"class_token": False, "pool": "gap", "position_at": "shared", "pre_norm": True},
            "gap_norm": {"pool": "gap_norm", "position": "relative", "activation": "quick_gelu"},
            "pre_logits": {"representation_dim": 10, "position": "none", "patch_bias": False},
            "bit_root": {"bit_stem": (), "bit_width": 32, "dropout": 0.1},
            "bit": {"bit_stem": (1,), "bit_width": 32, "bit_epsilon": "outside"},
        }.items()
    },
    "local_attention": LocalAttentionConfig(
        depths=(1, 2), widths=(8, 16), num_classes=5, window=3, num_heads=2, cifar_stem=True
    ),
    "axial": AxialResNetConfig(
        image_size=32, depths=(1, 2), widths=(8, 16), stem_width=8, num_classes=5, num_heads=2
    ),
    "axial_vit": AxialViTConfig(
        image_size=32, patch_size=8, width=24, depth=2, num_heads=3, mlp_dim=32, num_classes=5, drop_path=0.3
    ),
    **{
        f"cordonnier_{position}": CordonnierConfig.model_validate(
            {"width": 16, "depth": 2, "num_heads": 3, "mlp_dim": 24, "num_classes": 5}
            | {"cell": 4, "position": position}
        )
        for position in ("quadratic", "learned", "content")
    },
    "masked_patch": MaskedPatchConfig(vision=VISION.model_copy(update={"num_classes": 0})),
    "bag_of_words": BagOfWordsConfig(vision=PRIOR_RESNET, vocab_size=12),
    "ngrams": NGramsConfig(vision=PRIOR_VIT, num_ngrams=12),
    "virtex": VirTexConfig(vision=PRIOR_VIT, text=PRIOR_TEXT),
    "virtex_forward": VirTexConfig(vision=PRIOR_RESNET, text=PRIOR_TEXT, both_ways=False),
    **{
        f"icmlm_{form}": ICMLMConfig(vision=PRIOR_RESNET, text=PRIOR_TEXT, form=form, num_concepts=6)
        for form in ("tp", "att_fc", "tfm")
    },
    "convirt": ConVIRTConfig(vision=PRIOR_RESNET, text=PRIOR_TEXT, embed_dim=8),
    "detector": DetectorConfig(
        backbone=ResNetConfig(block="basic", depths=(1, 1), widths=(8, 16), num_classes=0),
        num_classes=3,
        pyramid_dim=8,
        coarsest=16,
        anchor_scale=2,
        box_dim=16,
        proposals=6,
    ),
    "clip_vit": CLIPConfig(
        vision=VISION.model_copy(update={"num_classes": 0, "pre_norm": True, "patch_bias": False}),
        text=CLIP_TEXT,
        embed_dim=16,
    ),
    "clip_resnet": CLIPConfig(vision=CLIP_RESNET, text=CLIP_TEXT, embed_dim=16),
    **{
        f"blip_{sharing}": BLIPConfig.model_validate(
            {"vision": HYBRID, "text": TEXT, "embed_dim": 8, "sharing": sharing}
            | {"cls_id": 2, "sep_id": 3, "dec_id": 5, "enc_id": 6}
        )
        for sharing in ("all", "all_but_self_attention", "all_but_cross_attention", "none")
    },
    **{
        f"blip_{name}": kind.model_validate(
            {"vision": HYBRID, "text": TEXT, "cls_id": 2, "sep_id": 3, "dec_id": 5, "enc_id": 6} | own
        )
        for name, kind, own in (
            ("caption", BLIPConfig, {"heads": ("lm",), "num_classes": 3}),
            ("retrieval", BLIPConfig, {"heads": ("itc", "itm"), "embed_dim": 8}),
            ("vqa", BLIPVQAConfig, {}),
            ("nlvr2", BLIPNLVR2Config, {}),
        )
    },
}
OUTPUTS = {
    ResNetConfig: ResNetOutput,
    ViTConfig: ViTOutput,
    MaskedPatchConfig: MaskedPatchOutput,
    LocalAttentionConfig: ResNetOutput,
    AxialResNetConfig: ResNetOutput,
    AxialViTConfig: AxialViTOutput,
    CordonnierConfig: CordonnierOutput,
    BagOfWordsConfig: BagOfWordsOutput,
    NGramsConfig: NGramsOutput,
    VirTexConfig: VirTexOutput,
    ICMLMConfig: ICMLMOutput,
    ConVIRTConfig: ConVIRTOutput,
    DetectorConfig: DetectorOutput,
    CLIPConfig: CLIPOutput,
    BLIPConfig: BLIPOutput,
    BLIPVQAConfig: BLIPVQAOutput,
    BLIPNLVR2Config: BLIPNLVR2Output,
}
CAPTIONED = (VirTexConfig, ICMLMConfig, ConVIRTConfig)
GROUNDED = (BLIPConfig, BLIPVQAConfig, BLIPNLVR2Config)


def inputs(config: Config, batch: int) -> tuple[Tensor, ...]:
    size = {
        ViTConfig: lambda c: c.image_size,
        CLIPConfig: lambda c: c.vision.image_size,
        **dict.fromkeys(GROUNDED, lambda c: c.vision.image_size),
    }
    side = size.get(type(config), lambda _: 32)(config)
    pixels = torch.randn(batch, 3, side, side)
    if isinstance(config, MaskedPatchConfig):
        return pixels, torch.tensor([MASK, 3, *range(2, config.vision.num_patches)]).expand(batch, -1)
    if not isinstance(config, (*GROUNDED, *CAPTIONED, CLIPConfig)):
        return (pixels,)
    ids = torch.randint(7, config.text.vocab_size, (batch, 9))
    if isinstance(config, CLIPConfig):
        return pixels, ids
    texts = ids, torch.arange(9) < torch.tensor([[9], [4], [7]])[:batch]
    if isinstance(config, ICMLMConfig):
        return pixels, *texts, torch.tensor([2, 3, 4])[:batch]
    if isinstance(config, BLIPVQAConfig):
        return pixels, *texts, ids.flip(1)
    return (pixels, pixels.flip(2), *texts) if isinstance(config, BLIPNLVR2Config) else (pixels, *texts)


@pytest.fixture(params=SMALL)
def config(request: pytest.FixtureRequest) -> Config:
    return SMALL[request.param]


@pytest.mark.parametrize("name", MODELS)
def test_named_model_has_its_size_and_reads_pictures_of_its_spec(name: str) -> None:
    found = entry(name)
    with torch.device("meta"):
        model = build(name)
        if isinstance(model, Detector):  # which regions it proposes, no meta tensor can tell
            assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
            return
        pixels = torch.empty(2, 3, found.image_spec.size, found.image_spec.size)
        ids = {BLIP: (2, 6), CLIP: (2, 77), MaskedPatch: (2, 196)}.get(type(model))
        rest = [torch.zeros(ids, dtype=torch.int64)] if ids else []
        texts = torch.zeros(2, 6, dtype=torch.int64)
        grounded = {BLIPVQA: [texts, None, texts], BLIPNLVR2: [pixels, texts]}
        mask = torch.ones_like(texts, dtype=torch.bool)
        grounded |= {VirTex: [texts], ICMLM: [texts, mask, texts[:, 0]], ConVIRT: [texts, mask]}
        rest = grounded.get(type(model), rest)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    output = model(pixels, *rest)
    assert type(output) is OUTPUTS[type(found.config)]
    last = {
        BLIPVQAConfig: lambda c: (2, 6, c.text.vocab_size),
        BLIPNLVR2Config: lambda _: (2, 2),
        CLIPConfig: lambda _: (),
        MaskedPatchConfig: lambda _: (2, 196, 512),
        BagOfWordsConfig: lambda c: (2, c.vocab_size),
        NGramsConfig: lambda c: (2, c.num_ngrams),
        VirTexConfig: lambda c: (2, 6, c.text.vocab_size),
        ICMLMConfig: lambda c: (2, c.num_concepts),
        ConVIRTConfig: lambda c: (2, c.embed_dim),
    }
    classes = last.get(type(found.config), lambda c: (2, c.num_classes))
    assert tuple(output[-1].shape) == classes(found.config)


def test_every_parameter_gets_a_gradient(config: Config) -> None:
    model = build(config)
    with torch.no_grad():  # a branch that starts at zero passes no gradient back
        [p.add_(0.1) for p in model.parameters() if not p.any()]
    sum((part + 1).pow(2).mean() for part in model(*inputs(config, 3)) if part.numel()).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    divided_by = {"temperature"} if isinstance(config, BLIPConfig) and "itc" in config.heads else set()
    assert without == divided_by  # by the loss, later


def test_eval_is_deterministic_and_rows_are_independent(config: Config) -> None:
    model = build(config).eval()
    batch = inputs(config, 3)
    with torch.no_grad():
        once, again = model(*batch), model(*batch)
        alone = model(*(x[1:2] for x in batch))
    for first, second, one in zip(once, again, alone, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first[1:2] if first.ndim else first, one, atol=1e-5, rtol=1e-4)


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
