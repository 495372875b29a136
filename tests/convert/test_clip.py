import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limner.convert import keymap as keys
from limner.convert.clip import DIALECTS
from limner.convert.clip_keys import stores_half
from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.opening import open_bundle
from limner.convert.saving import convert
from limner.errors import CheckpointError
from limner.models import build
from limner.models.clip import CLIP, CLIPConfig, CLIPTextConfig
from limner.models.clip_resnet import CLIPResNetConfig
from limner.models.vit import ViTConfig

WORDS = 90
BY_NAME = {dialect.name: dialect for dialect in DIALECTS}
Opened = tuple[CLIP, Description, Dialect]


@torch.no_grad()
def stir(model: nn.Module) -> Any:
    for parameter in model.parameters():
        parameter.uniform_(-0.3, 0.3)
    for module in model.modules():
        if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
            module.weight.add_(1.0)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def weights_of(tensors: Mapping[str, Tensor], name: str = "model.safetensors", **sides: Any) -> Weights:
    return Weights(tensors, {}, sides, Path(name), "0" * 64, "safetensors")


def describe(weights: Weights) -> tuple[Dialect, Description]:
    (dialect,) = [dialect for dialect in DIALECTS if dialect.recognises(weights)]
    return dialect, dialect.describe(weights)


def open_it(tensors: Mapping[str, Tensor], name: str = "model.safetensors", **sides: Any) -> Opened:
    dialect, description = describe(weights_of(tensors, name, **sides))
    ours = keys.read(tensors, dialect.keymap(description.config), name)
    with torch.device("meta"):
        model = CLIP(description.config)
    model.load_state_dict(ours, strict=True, assign=True)
    return model.float().eval(), description, dialect


def ours(
    vision: str = "vit",
    activation: str = "quick_gelu",
    image_size: int = 32,
    width: int = 128,
    **text: Any,
) -> CLIP:
    tower: ViTConfig | CLIPResNetConfig
    if vision == "vit":
        sizes = {"patch_size": 8, "width": width, "depth": 2, "num_heads": width // 64, "mlp_dim": 4 * width}
        tower = ViTConfig.model_validate(
            {"image_size": image_size, "activation": activation, "layer_norm_eps": 1e-5, **sizes}
            | {"pre_norm": True, "patch_bias": False}
        )
    else:
        tower = CLIPResNetConfig(
            depths=(1, 2, 1, 1), width=8, image_size=image_size, num_heads=4, embed_dim=48
        )
    words = {"vocab_size": WORDS, "width": 64, "depth": 2, "num_heads": 1, "mlp_dim": 256, **text}
    told = CLIPTextConfig.model_validate({"activation": activation, **words})
    return stir(CLIP(CLIPConfig(vision=tower, text=told, embed_dim=48)))


def open_clips(
    vision: Mapping[str, Any], quick: bool, text: Mapping[str, Any] | None = None, custom: bool = False
) -> Any:
    """open_clip's model with random weights, and the JSON it would write beside them."""
    from open_clip.model import CLIP as Theirs
    from open_clip.model import CustomTextCLIP

    words = {"vocab_size": WORDS, "width": 64, "heads": 1, "layers": 2, **(text or {})}
    sizes = {"embed_dim": 48, "quick_gelu": quick, "vision_cfg": dict(vision), "text_cfg": words}
    model = stir((CustomTextCLIP if custom else Theirs)(**json.loads(json.dumps(sizes))))
    return model, {"model_cfg": sizes, "preprocess_cfg": {"mean": [0.5] * 3, "resize_mode": "squash"}}


def prompts(batch: int, words: int = WORDS) -> Tensor:
    """Short, cut at 77 and padded texts."""
    ids = torch.zeros(batch, 77, dtype=torch.int64)
    for row, length in zip(range(batch), (6, 77, 20), strict=False):
        ids[row, :length] = torch.randint(1, words - 2, (length,))
        ids[row, 0], ids[row, length - 1] = words - 2, words - 1
    return ids


def apart(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


@torch.no_grad()
def assert_same(mine: CLIP, theirs: Any, bound: float = 1e-5) -> None:
    """Unit vectors and logits, batch 1 and 3; `theirs` is open_clip's model."""
    side = mine.config.vision.image_size
    for batch in (1, 3):
        pixels, ids = torch.randn(batch, 3, side, side), prompts(batch, mine.config.text.vocab_size)
        out = mine(pixels, ids)
        image, text, scale = theirs(pixels, ids)
        assert apart(out.image_embed, image) <= bound
        assert apart(out.text_embed, text) <= bound
        logits = out.logit_scale * out.image_embed @ out.text_embed.T
        worst = (logits - scale * image @ text.T).abs().max()
        assert worst <= bound * scale  # a lone cosine may be near 0: by the size a logit can have


VITS: dict[str, dict[str, Any]] = {
    "plain": {"image_size": 32, "patch_size": 8, "width": 128, "layers": 2},
    "margin": {"image_size": 30, "patch_size": 8, "width": 64, "layers": 2},
    "wide_heads": {"image_size": 42, "patch_size": 14, "width": 160, "layers": 2, "head_width": 80},
    "ratio": {"image_size": 32, "patch_size": 16, "width": 88, "layers": 1, "head_width": 88}
    | {"mlp_ratio": 4.3637},
}
RESNETS: dict[str, dict[str, Any]] = {
    "small": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8},
    "odd": {"image_size": 100, "layers": [1, 1, 1, 2], "width": 16, "head_width": 128},
}


@pytest.mark.peer
@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("vision", [*VITS.values(), *RESNETS.values()], ids=[*VITS, *RESNETS])
def test_open_clips_numbers(vision: dict[str, Any], quick: bool) -> None:
    theirs, config = open_clips(vision, quick)
    model, found, dialect = open_it(theirs.state_dict(), **{"open_clip_config.json": config})
    assert_same(model, theirs)
    assert dialect.name == "open_clip"
    assert (found.task, found.tokenizer, found.notes) == ("contrastive", "clip", ())
    assert (found.image_spec.size, found.image_spec.crop) == (vision["image_size"], "squash")
    assert found.image_spec.mean == (0.5, 0.5, 0.5)


@pytest.mark.peer
@pytest.mark.parametrize("eos_id", [None, 5])
def test_open_clips_other_class_and_its_end_token(eos_id: int | None) -> None:
    text = {} if eos_id is None else {"pool_type": "eos", "eos_id": eos_id}
    theirs, config = open_clips(VITS["plain"], quick=False, text=text, custom=True)
    state = theirs.state_dict()
    state["logit_scale"] = state["logit_scale"].reshape(1)
    model, found, dialect = open_it(state, **{"open_clip_config.json": config})
    assert dialect.name == "open_clip_custom_text"
    assert found.config.text.eot_id == eos_id
    assert model.log_logit_scale.shape == ()
    assert_same(model, theirs)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("vision", "change"),
    [
        ("vit", {}),
        ("vit", {"image_size": 30}),
        ("vit", {"activation": "gelu"}),
        ("resnet", {"image_size": 96}),
        ("vit", {"activation": "gelu_tanh", "layer_norm_eps": 1e-4, "mlp_dim": 100, "eot_id": 7}),
    ],
)
def test_open_clip_opens_what_is_written(vision: str, change: dict[str, Any], tmp_path: Path) -> None:
    from open_clip.factory import create_model

    model = ours(vision, **change)
    written = write(model, "open_clip", tmp_path, "open_clip_model.safetensors")
    theirs = create_model(f"local-dir:{tmp_path}").eval()
    assert theirs.visual.image_size in (model.config.vision.image_size, (model.config.vision.image_size,) * 2)
    assert_same(model, theirs)
    assert_round_trip(model, written, tmp_path)


def write(model: CLIP, dialect: str, folder: Path, name: str) -> dict[str, Tensor]:
    """What a user gets from `limner convert`."""
    kind = BY_NAME[dialect]
    kind.checks(model.config)
    written = keys.write(model.state_dict(), kind.keymap(model.config))
    save_file({key: tensor.contiguous() for key, tensor in written.items()}, folder / name, {"format": "pt"})
    spec = build_spec(model)
    for side, values in kind.companions(model.config, spec).items():
        (folder / side).write_text(json.dumps(values))
    return written


def build_spec(model: CLIP) -> Description:
    from limner.shapes import ImageSpec

    return Description(
        model.config, ImageSpec(size=model.config.vision.image_size, crop="center"), "contrastive"
    )


def assert_round_trip(model: CLIP, written: dict[str, Tensor], folder: Path) -> None:
    sides = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    again, found, dialect = open_it(written, **sides)
    assert found.config == model.config
    assert found.image_spec.size == model.config.vision.image_size
    state = again.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert keys.write(state, dialect.keymap(found.config)).keys() == written.keys()


@pytest.mark.peer
@pytest.mark.parametrize("vision", ["vit", "resnet"])
def test_openais_archives(vision: str, tmp_path: Path) -> None:
    """What OpenAI's own loader, as open_clip has it, makes of our file."""
    from open_clip.model import build_model_from_openai_state_dict

    model = ours(vision, image_size=64)
    written = write(model, "openai", tmp_path, "model.safetensors")
    assert {key: int(written[key]) for key in ("input_resolution", "context_length", "vocab_size")} == {
        "input_resolution": 64,
        "context_length": 77,
        "vocab_size": WORDS,
    }
    theirs = build_model_from_openai_state_dict(dict(written), cast_dtype=torch.float32)
    theirs.float().load_state_dict({k: v for k, v in written.items() if v.ndim or k == "logit_scale"}, False)
    assert_same(model, theirs.eval())
    assert_round_trip(model, written, tmp_path)


@pytest.mark.peer
@pytest.mark.parametrize("vision", ["vit", "resnet"])
def test_openais_half_precision_subset(vision: str, tmp_path: Path) -> None:
    """Trap 35: the dtype of each key, and what widening a file of halves costs."""
    from open_clip.model import CLIP as Theirs
    from open_clip.model import convert_weights_to_fp16

    sizes = (RESNETS if vision == "resnet" else VITS)["small" if vision == "resnet" else "plain"]
    halves: nn.Module = stir(
        Theirs(48, dict(sizes), {"vocab_size": WORDS, "width": 64, "heads": 1, "layers": 2}, True)
    )
    convert_weights_to_fp16(halves)
    state = halves.state_dict()
    assert {k for k in state if stores_half(k)} == {k for k, t in state.items() if t.dtype == torch.float16}
    full = ours(vision, image_size=sizes["image_size"])
    written = keys.write(full.state_dict(), BY_NAME["openai"].keymap(full.config))
    half = {key: t.half() if stores_half(key) else t for key, t in written.items()}
    model, _, dialect = open_it(half)
    assert dialect.name == "openai"
    assert next(model.parameters()).dtype == torch.float32
    pixels, ids = torch.randn(2, 3, sizes["image_size"], sizes["image_size"]), prompts(2)
    with torch.no_grad():
        exact, rough = (m(pixels, ids) for m in (full, model))
    assert 0 < apart(rough.image_embed, exact.image_embed) < 1e-2
    assert apart(rough.text_embed, exact.text_embed) < 1e-2


def test_converted_to_openais_format_in_fp16_only_its_subset_is_narrow(tmp_path: Path) -> None:
    """Trap 35."""
    write(ours("vit", vocab_size=49408), "openai", tmp_path, "model.safetensors")
    convert(open_bundle(tmp_path), tmp_path / "half", "openai", "fp16")
    state = load_file(tmp_path / "half" / "model.safetensors")
    assert {key for key, t in state.items() if t.dtype == torch.float16} == set(filter(stores_half, state))
    assert state["token_embedding.weight"].dtype == state["logit_scale"].dtype == torch.float32


def test_openais_files_need_nothing_beside_them() -> None:
    model = ours("resnet", image_size=64)
    written = keys.write(model.state_dict(), BY_NAME["openai"].keymap(model.config))
    lacking = {key: t for key, t in written.items() if "num_batches_tracked" not in key}
    again, found, dialect = open_it(lacking, "RN50.pt")
    assert dialect.name == "openai"
    assert found.config == model.config
    assert (found.image_spec.crop, found.image_spec.size, found.notes) == ("center", 64, ())
    assert again.vision.bn1.num_batches_tracked.item() == 0


@pytest.fixture
def hf() -> Callable[..., Any]:
    """A function that makes transformers' CLIPModel with random weights."""
    from transformers import CLIPConfig as Config
    from transformers import CLIPModel

    def make(image_size: int = 32, act: str = "quick_gelu", **text: Any) -> Any:
        sizes = {"num_hidden_layers": 2, "intermediate_size": 100, "hidden_act": act}
        words = {"hidden_size": 64, "num_attention_heads": 2, "vocab_size": WORDS, "eos_token_id": WORDS - 1}
        vision = {"hidden_size": 96, "num_attention_heads": 3, "image_size": image_size, "patch_size": 8}
        ids = {"bos_token_id": WORDS - 2, "pad_token_id": 0}
        config = Config(
            text_config={**sizes, **words, **ids, **text},
            vision_config={**sizes, **vision},
            projection_dim=48,
        )
        return stir(CLIPModel(config))

    return make


@torch.no_grad()
def assert_same_as_hf(mine: CLIP, theirs: Any, ids: Tensor | None = None) -> None:
    side = mine.config.vision.image_size
    for batch in (1, 3):
        words = prompts(batch) if ids is None else ids
        pixels = torch.randn(batch, 3, side, side)
        out, expected = mine(pixels, words), theirs(input_ids=words, pixel_values=pixels)
        assert apart(out.image_embed, expected.image_embeds) <= 1e-5
        assert apart(out.text_embed, expected.text_embeds) <= 1e-5
        logits = out.logit_scale * out.image_embed @ out.text_embed.T
        assert (logits - expected.logits_per_image).abs().max() <= 1e-5 * out.logit_scale
        features = theirs.vision_model(pixels).pooler_output
        assert apart(mine.image_features(pixels), features) <= 1e-5


@pytest.mark.peer
@pytest.mark.parametrize(
    ("image_size", "act", "activation"),
    [(32, "quick_gelu", "quick_gelu"), (30, "gelu", "gelu"), (32, "gelu_pytorch_tanh", "gelu_tanh")],
)
def test_transformers_numbers(
    hf: Callable[..., Any], image_size: int, act: str, activation: str, tmp_path: Path
) -> None:
    theirs = hf(image_size, act)
    theirs.save_pretrained(tmp_path)
    state, config = (
        load_file(tmp_path / "model.safetensors"),
        json.loads((tmp_path / "config.json").read_text()),
    )
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    model, found, dialect = open_it(state, **{"config.json": config})
    assert (dialect.name, found.tokenizer) == ("hf", "clip_hf")
    assert found.config.text.activation == found.config.vision.activation == activation
    assert found.config.text.num_heads == 2
    assert "CLIP's own way is assumed" in found.notes[0]
    assert_same_as_hf(model, theirs)


@pytest.mark.peer
@pytest.mark.parametrize("eos", [2, 5, WORDS - 1])
def test_transformers_end_tokens(hf: Callable[..., Any], eos: int) -> None:
    """Trap 28: 2 is what old files say and means argmax; any other id means its first place."""
    theirs = hf(eos_token_id=eos)
    config = {"model_type": "clip", **json.loads(theirs.config.to_json_string())}
    model, found, _ = open_it(theirs.state_dict(), **{"config.json": config})
    assert found.config.text.eot_id == (5 if eos == 5 else None)
    ids = prompts(3)
    ids[:, 3] = 5
    assert_same_as_hf(model, theirs, ids)


@pytest.mark.peer
@pytest.mark.parametrize(
    "change", [{}, {"image_size": 30, "activation": "gelu"}, {"eot_id": 7, "mlp_dim": 99}]
)
def test_transformers_opens_what_is_written(change: dict[str, Any], tmp_path: Path) -> None:
    from transformers import CLIPImageProcessor, CLIPModel

    model = ours("vit", **change)
    written = write(model, "hf", tmp_path, "model.safetensors")
    theirs, report = CLIPModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    ids = prompts(3)
    ids[:, 5] = change.get("eot_id", ids[:, 5])
    assert_same_as_hf(model, theirs.eval(), ids)
    processor = CLIPImageProcessor.from_pretrained(tmp_path)
    side = model.config.vision.image_size
    assert dict(processor.crop_size) == {"height": side, "width": side}
    assert_round_trip(model, written, tmp_path)


def bare(activation: str = "gelu") -> dict[str, Tensor]:
    model = ours("vit", activation)
    return keys.write(model.state_dict(), BY_NAME["open_clip"].keymap(model.config))


def test_a_bare_file_that_nobody_knows_is_refused() -> None:
    """Trap 42: both activations would load."""
    with pytest.raises(
        CheckpointError, match=r"epoch_7\.pt: the tensors do not tell .* QuickGELU or exact GELU"
    ):
        describe(weights_of(bare(), "epoch_7.pt"))
    with pytest.raises(CheckpointError, match="--activation quick_gelu"):
        describe(weights_of(bare(), "ViT-B-32.pt"))  # OpenAI's name is no proof: its keys are not there


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_the_user_may_say_the_activation(activation: str) -> None:
    state = bare(activation)
    _, found, _ = open_it(state, "epoch_7.pt", options={"activation": activation})
    assert found.config.vision.activation == found.config.text.activation == activation
    assert found.notes == (
        "Heads are taken to be 64 wide: nothing beside the file says otherwise.",
        f"The activation, {activation}, is as the user said.",
        "Nothing beside the file says how pictures are prepared; CLIP's own way is assumed.",
    )
    with pytest.raises(CheckpointError, match="activation 'swish'"):
        describe(weights_of(state, options={"activation": "swish"}))


def test_a_name_may_say_the_activation() -> None:
    _, found = describe(weights_of(bare(), "runs/ViT-B-32-quickgelu_best/epoch_7.pt"))
    assert found.config.text.activation == "quick_gelu"


@pytest.mark.peer
def test_the_wrong_activation_loads_and_is_worse_than_1e_3() -> None:
    """Trap 42: what the table guards against."""
    theirs, _ = open_clips(VITS["plain"], quick=True)
    pixels = torch.randn(2, 3, 32, 32)
    for activation in ("quick_gelu", "gelu"):
        model, _, _ = open_it(theirs.state_dict(), options={"activation": activation})
        with torch.no_grad():
            error = apart(model.encode_image(pixels), theirs.encode_image(pixels, normalize=True))
        assert (error <= 1e-5) == (activation == "quick_gelu")
        assert error <= 1e-5 or error > 1e-3


@pytest.mark.parametrize(
    ("name", "file", "activation", "crop", "mean"),
    [
        ("clip_vit_b32_gelu", "vit_b_32-laion2b_e16-af8dbd0c.pth", "gelu", "center", 0.48145466),
        ("clip_vit_b32", "b32_400m.pt", "quick_gelu", "center", 0.48145466),
        ("clip_vit_l14_gelu", "CLIP-ViT-L-14-laion2B-s32B-b82K/open_clip.bin", "gelu", "center", 0.5),
        (
            "clip_vit_h14_quickgelu",
            "models--apple--DFN5B-CLIP-ViT-H-14/snapshots/0/open_clip.bin",
            "quick_gelu",
            "squash",
            0.48145466,
        ),
    ],
)
def test_published_files_are_known_by_name(
    name: str, file: str, activation: str, crop: str, mean: float
) -> None:
    with torch.device("meta"):
        model = build(name)
        state = keys.write(model.state_dict(), BY_NAME["open_clip"].keymap(model.config))
    dialect, found = describe(weights_of(state, file))
    assert dialect.name == "open_clip"
    assert found.config == model.config  # heads of H among it, which no shape tells
    assert found.config.text.activation == activation
    assert (found.image_spec.crop, found.image_spec.mean[0]) == (crop, mean)
    assert "Told by its name" in found.notes[0]


def test_a_published_name_on_other_sizes_says_nothing() -> None:
    with pytest.raises(CheckpointError, match="do not tell"):
        describe(weights_of(bare(), "b32_400m.pt"))


HF_ONE = {"vision_model.pre_layrnorm.weight": torch.ones(4), "visual_projection.weight": torch.ones(4, 4)}
VISUAL = {"logit_scale": torch.tensor(1.0), "visual.conv1.weight": torch.ones(4, 3, 8, 8)}


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (VISUAL | {"logit_bias": torch.tensor(-10.0)}, r"a SigLIP.*it holds logit_bias"),
        (VISUAL | {"text_decoder.ln_final.weight": torch.ones(4)}, r"a CoCa.*text_decoder\.ln_final"),
        (VISUAL | {"visual.trunk.norm.weight": torch.ones(4)}, r"one of timm's: it holds visual\.trunk"),
        (VISUAL | {"text.proj.0.weight": torch.ones(4)}, r"text tower is BERT.*text\.proj\.0"),
        (VISUAL | {"text.transformer.embeddings.word_embeddings.weight": torch.ones(4)}, "BERT or another"),
        (VISUAL | {"text.text_projection.bias": torch.ones(4)}, "text projection has a bias"),
        (VISUAL | {"text.cls_emb": torch.ones(4)}, "a class token"),
        (VISUAL | {"visual.transformer.resblocks.0.ls_1.gamma": torch.ones(4)}, "layer scale"),
        (HF_ONE | {"vision_model.head.probe": torch.ones(4)}, "SigLIP's vision tower"),
        (HF_ONE | {"text_model.encoder.layer.0.output.dense.weight": torch.ones(4)}, "BERT or another"),
        (HF_ONE, r"holds no text tower: text_model"),
        (VISUAL, "is not there"),
    ],
)
def test_kin_of_clip_are_refused_by_name(extra: dict[str, Tensor], reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        describe(weights_of(extra, options={"activation": "gelu"}))


def test_a_text_tower_alone_is_refused() -> None:
    alone = {"text_model.embeddings.token_embedding.weight": torch.ones(4, 4)}
    with pytest.raises(CheckpointError, match="holds no vision tower"):
        describe(weights_of(alone))


def test_transformers_files_without_their_json_are_refused() -> None:
    model = ours("vit")
    state = keys.write(model.state_dict(), BY_NAME["hf"].keymap(model.config))
    with pytest.raises(CheckpointError, match=r"no config\.json beside it"):
        describe(weights_of(state))
    _, found = describe(weights_of(state, options={"activation": "quick_gelu"}))
    assert found.config == model.config
    assert any("64 wide" in note for note in found.notes)


def test_pictures_of_another_size_than_the_towers_are_refused() -> None:
    model = ours("vit")
    state = keys.write(model.state_dict(), BY_NAME["hf"].keymap(model.config))
    sides = BY_NAME["hf"].companions(model.config, build_spec(model))
    sides["preprocessor_config.json"] |= {"size": {"shortest_edge": 64}, "crop_size": 64}
    with pytest.raises(CheckpointError, match="prepared at 64 pixels, the vision tower reads 32"):
        describe(weights_of(state, **sides))


def test_foreign_keys_and_missing_ones_are_named() -> None:
    """Trap 38: a patch bias, as timm's ViTs have, has no place; a lost norm is no random one."""
    state = bare()
    keymap = BY_NAME["open_clip"].keymap(ours("vit").config)
    with pytest.raises(CheckpointError, match=r"without a place \['visual\.conv1\.bias'\]"):
        keys.read(state | {"visual.conv1.bias": torch.zeros(4)}, keymap, "file")
    del state["visual.ln_pre.weight"]
    with pytest.raises(CheckpointError, match=r"1 missing keys \['visual\.ln_pre\.weight'\]"):
        keys.read(state, keymap, "file")
