"""Google's .npz: random arrays in the documented layout, loaded by timm's own reader and by limner.

timm's reader is the oracle for the order of queries, keys and values and for every transposition (trap 16):
the tensors must be equal bit by bit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from limner.convert import keymap as keys
from limner.convert.labels import IMAGENET_1K
from limner.convert.preprocessing import GOOGLE_VIT, GOOGLE_VIT_NOTE, at_size
from limner.convert.vit_google import DIALECTS
from limner.errors import CheckpointError
from limner.models.vit import ViT

Arrays = dict[str, np.ndarray]
WIDTH, DEPTH, HEADS, MLP = 64, 2, 4, 96
FLAX, PADDED, BIG_VISION, STACKED = DIALECTS
AUGREG = (
    "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_384.npz"
)


class _Rolls:
    """Random arrays, one after the other."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(3)

    def __call__(self, *shape: int) -> np.ndarray:
        return self.rng.uniform(-0.3, 0.3, shape).astype(np.float32)


def flax(
    patch: int = 8, channels: int = 3, side: int = 4, classes: int = 7, inner: int = 0, cls: bool = True
) -> Arrays:
    """The layout of the paper's repository and of AugReg."""
    roll = _Rolls()
    arrays = {
        "embedding/kernel": roll(patch, patch, channels, WIDTH),
        "embedding/bias": roll(WIDTH),
        "Transformer/posembed_input/pos_embedding": roll(1, side * side + cls, WIDTH),
        "Transformer/encoder_norm/scale": 1 + roll(WIDTH),
        "Transformer/encoder_norm/bias": roll(WIDTH),
    }
    if cls:
        arrays["cls"] = roll(1, 1, WIDTH)
    for number in range(DEPTH):
        block = f"Transformer/encoderblock_{number}"
        for norm in (0, 2):
            arrays[f"{block}/LayerNorm_{norm}/scale"] = 1 + roll(WIDTH)
            arrays[f"{block}/LayerNorm_{norm}/bias"] = roll(WIDTH)
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            arrays[f"{attention}/{part}/kernel"] = roll(WIDTH, HEADS, WIDTH // HEADS)
            arrays[f"{attention}/{part}/bias"] = roll(HEADS, WIDTH // HEADS)
        arrays[f"{attention}/out/kernel"] = roll(HEADS, WIDTH // HEADS, WIDTH)
        arrays[f"{attention}/out/bias"] = roll(WIDTH)
        for dense, (inside, outside) in enumerate(((WIDTH, MLP), (MLP, WIDTH))):
            arrays[f"{block}/MlpBlock_3/Dense_{dense}/kernel"] = roll(inside, outside)
            arrays[f"{block}/MlpBlock_3/Dense_{dense}/bias"] = roll(outside)
    if inner:
        arrays |= {"pre_logits/kernel": roll(WIDTH, inner), "pre_logits/bias": roll(inner)}
    if classes:
        arrays |= {"head/kernel": roll(inner or WIDTH, classes), "head/bias": roll(classes)}
    return arrays


def big_vision(arrays: Arrays) -> Arrays:
    """The same model under big_vision's names."""
    names = {
        "MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0",
        "MlpBlock_3": "MlpBlock_0",
        "LayerNorm_2": "LayerNorm_1",
        "Transformer/posembed_input/pos_embedding": "pos_embedding",
    }
    out = {}
    for key, value in arrays.items():
        new_key = key
        for old, new in names.items():
            new_key = new_key.replace(old, new)
        out[new_key] = value
    return out


def stacked(arrays: Arrays) -> Arrays:
    """big_vision's names, with one array for a tensor of all blocks."""
    named = big_vision(arrays)
    out = {key: value for key, value in named.items() if "encoderblock_" not in key}
    for key in named:
        if "encoderblock_0/" in key:
            blocks = [named[key.replace("_0/", f"_{number}/", 1)] for number in range(DEPTH)]
            out[key.replace("encoderblock_0", "encoderblock")] = np.stack(blocks)
    return out


def hybrid(depths: tuple[int, ...], unit: str = "unit{}") -> Arrays:
    """A hybrid's arrays: root, then residual units, group norms over whole maps."""
    channels = 64 * 2 ** (len(depths) + 1) if depths else 64
    arrays, roll = flax(8 if not depths else 1, channels, 2), _Rolls()

    def conv(key: str, norm: str, *shape: int) -> None:
        arrays[f"{key}/kernel"] = roll(*shape)
        arrays[f"{norm}/scale"] = 1 + roll(1, 1, 1, shape[-1])
        arrays[f"{norm}/bias"] = roll(1, 1, 1, shape[-1])

    conv("conv_root", "gn_root", 7, 7, 3, 64)
    inside = 64
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        for number in range(depth):
            block = f"block{stage + 1}/{unit.format(number + 1)}"
            conv(f"{block}/conv1", f"{block}/gn1", 1, 1, inside, width)
            conv(f"{block}/conv2", f"{block}/gn2", 3, 3, width, width)
            conv(f"{block}/conv3", f"{block}/gn3", 1, 1, width, 4 * width)
            if number == 0:
                conv(f"{block}/conv_proj", f"{block}/gn_proj", 1, 1, inside, 4 * width)
            inside = 4 * width
    return arrays


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value.copy()) for key, value in arrays.items()}


def oracle(arrays: Arrays, folder: Path, prefix: str, architecture: str, **arguments: Any) -> Any:
    """timm's model with the arrays read by timm's own reader of .npz."""
    import timm

    path = folder / "oracle.npz"
    np.savez(path, **{prefix + key: value for key, value in arrays.items()})
    sizes = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "mlp_ratio": MLP / WIDTH}
    model = timm.create_model(architecture, act_layer="gelu_tanh", **({"num_classes": 7} | sizes | arguments))
    model.load_pretrained(str(path))
    return model.eval()


PLAIN = {"img_size": 32, "patch_size": 8}
CASES: dict[str, tuple[Callable[[], Arrays], Any, str, str, dict[str, Any]]] = {
    "paper": (flax, FLAX, "opt/target/", "vit_base_patch16_224", PLAIN),
    "augreg": (flax, FLAX, "", "vit_base_patch16_224", PLAIN),
    "headless": (lambda: flax(classes=0), FLAX, "", "vit_base_patch16_224", PLAIN | {"num_classes": 0}),
    "big_vision": (lambda: big_vision(flax()), BIG_VISION, "params/", "vit_base_patch16_224", PLAIN),
    "stacked": (lambda: stacked(flax()), STACKED, "params/", "vit_base_patch16_224", PLAIN),
    "gap": (
        lambda: big_vision(flax(cls=False)),
        BIG_VISION,
        "params/",
        "vit_base_patch16_224",
        PLAIN | {"class_token": False, "global_pool": "avg", "fc_norm": False},
    ),
    "root hybrid": (lambda: hybrid(()), FLAX, "", "vit_tiny_r_s16_p8_224", {"img_size": 64, "patch_size": 8}),
    "hybrid": (lambda: hybrid((2, 2, 2, 2)), FLAX, "", "vit_small_r26_s32_224", {"img_size": 64}),
}


@pytest.mark.peer
@pytest.mark.parametrize("case", CASES)
def test_every_tensor_is_the_one_timms_reader_makes(
    case: str, tmp_path: Path, open_vit: Callable[..., Any], same_logits: Callable[..., None]
) -> None:
    make, expected, prefix, architecture, arguments = CASES[case]
    theirs = oracle(make(), tmp_path, prefix, architecture, **arguments)
    ours, description, dialect = open_vit(tensors(make()), "model.npz")
    assert dialect is expected
    config = description.config
    assert (config.activation, config.layer_norm_eps, config.num_heads) == ("gelu_tanh", 1e-6, HEADS)
    state = theirs.state_dict()
    assert ours.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in ours.state_dict().items())
    if "hybrid" in case:
        assert config.bit_epsilon == "outside"
        ours = _as_timm_standardises(ours)
    if config.num_classes:
        same_logits(ours, theirs, 3e-5 if case == "hybrid" else 1e-5)


def _as_timm_standardises(ours: ViT) -> ViT:
    """Google's epsilon is outside the root, timm's inside (trap 20): only so can the numbers be compared."""
    twin = ViT(ours.config.model_copy(update={"bit_epsilon": "inside"}))
    twin.load_state_dict(ours.state_dict())
    return twin.eval()


@pytest.mark.parametrize(
    "make", [flax, lambda: big_vision(flax()), lambda: hybrid((1, 2)), lambda: hybrid(())]
)
def test_what_is_written_is_what_was_read(make: Callable[[], Arrays], open_vit: Callable[..., Any]) -> None:
    arrays = tensors(make())
    ours, description, dialect = open_vit(arrays, "model.npz")
    written = keys.write(ours.state_dict(), dialect.keymap(description.config))
    assert written.keys() == arrays.keys()
    assert all(torch.equal(written[key], value) for key, value in arrays.items())


def test_the_order_of_queries_keys_and_values_shows(open_vit: Callable[..., Any]) -> None:
    """Trap 16: rows of the packed matrix are queries, keys, values, each head by head."""
    arrays = flax()
    ours, _, _ = open_vit(tensors(arrays), "model.npz")
    attention = "Transformer/encoderblock_1/MultiHeadDotProductAttention_1"
    packed = ours.blocks[1].attn.qkv.weight
    for place, part in enumerate(("query", "key", "value")):
        for head in range(HEADS):
            rows = packed[place * WIDTH + head * WIDTH // HEADS :][: WIDTH // HEADS]
            assert np.array_equal(rows.detach(), arrays[f"{attention}/{part}/kernel"][:, head].T)


def test_units_numbered_with_two_digits(open_vit: Callable[..., Any]) -> None:
    ours, _, dialect = open_vit(tensors(hybrid((1, 1), "unit{:02d}")), "model.npz")
    assert dialect is PADDED
    same, _, _ = open_vit(tensors(hybrid((1, 1))), "model.npz")
    assert all(torch.equal(value, same.state_dict()[key]) for key, value in ours.state_dict().items())


def test_the_pre_training_head(open_vit: Callable[..., Any]) -> None:
    ours, description, _ = open_vit(tensors(flax(inner=40, classes=21843)), "ViT-B_16.npz")
    assert description.config.representation_dim == 40
    assert description.labels == ()
    arrays, pixels = tensors(flax(inner=40, classes=21843)), torch.randn(1, 3, 32, 32)
    cls = ours.encode(ours.patch_embed(pixels))[:, 0]
    by_hand = torch.tanh(cls @ arrays["pre_logits/kernel"] + arrays["pre_logits/bias"])
    torch.testing.assert_close(ours(pixels).pooled, by_hand)


def test_what_is_said_of_pictures_and_classes(open_vit: Callable[..., Any]) -> None:
    _, description, _ = open_vit(tensors(flax(patch=16, side=24, classes=1000)), AUGREG)
    assert description.image_spec == at_size(GOOGLE_VIT, 384)
    assert description.labels == IMAGENET_1K
    assert GOOGLE_VIT_NOTE in description.notes
    assert any("20000 steps on imagenet2012 at 384 pixels." in note for note in description.notes)
    _, other, _ = open_vit(tensors(flax(patch=16, side=14)), AUGREG)
    assert any("positions are of 224 pixels, and those are believed" in note for note in other.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"MAPHead_0/probe": (1, 1, WIDTH)}, "SigLIP"),
        ({"embedding/kernel": (8, 8, 1, WIDTH)}, "patches of 1 channels"),
        ({"embedding/kernel": (8, 8, WIDTH)}, "embedding/kernel has the shape"),
        ({"Transformer/posembed_input/pos_embedding": (1, 15, WIDTH)}, "no square"),
        ({"Transformer/posembed_input/pos_embedding": None}, "sines"),
        ({"Transformer/encoderblock_5/LayerNorm_0/scale": (WIDTH,)}, "layer 2 is missing"),
        ({"Transformer/encoderblock_1/LayerNorm_0/bias": None}, "1 missing keys"),
        ({"Transformer/encoderblock_0/Other/scale": (WIDTH,)}, "1 without a place"),
    ],
)
def test_what_is_not_held_is_refused(
    change: dict[str, tuple[int, ...] | None], message: str, open_vit: Callable[..., Any]
) -> None:
    arrays = tensors(flax())
    for key, shape in change.items():
        if shape is None:
            del arrays[key]
        else:
            arrays[key] = torch.zeros(shape)
    with pytest.raises(CheckpointError, match=message):
        open_vit(arrays, "model.npz")


def test_stacked_files_are_read_only(open_vit: Callable[..., Any]) -> None:
    ours, description, dialect = open_vit(tensors(stacked(flax())), "model.npz")
    assert all(other.companions is None for other in DIALECTS)
    with pytest.raises(CheckpointError, match="stacked"):
        keys.write(ours.state_dict(), dialect.keymap(description.config))
