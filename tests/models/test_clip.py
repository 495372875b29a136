import math
from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from limner.errors import ShapeError
from limner.models.clip import CLIP, LARGEST_LOG_LOGIT_SCALE, CLIPConfig, CLIPText, CLIPTextConfig
from limner.models.clip_resnet import CLIPResNetConfig
from limner.models.vit import ViTConfig

END, START, WORDS = 99, 98, 98
TEXT = CLIPTextConfig(vocab_size=100, width=64, depth=2, num_heads=1, mlp_dim=128)
VIT = ViTConfig(
    image_size=32,
    patch_size=8,
    width=128,
    depth=2,
    num_heads=2,
    mlp_dim=256,
    activation="quick_gelu",
    pre_norm=True,
    patch_bias=False,
    layer_norm_eps=1e-5,
)
SMALL = CLIPConfig(vision=VIT, text=TEXT, embed_dim=48)
RESNET = CLIPResNetConfig(depths=(1, 1, 1, 1), width=8, image_size=32, num_heads=4, embed_dim=48)


@torch.no_grad()
def stir(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        parameter.uniform_(-0.3, 0.3)
    return model.eval()


def prompts(*lengths: int, pad: int = 0) -> Tensor:
    """Texts of so many tokens, both special ones included, padded to 77."""
    ids = torch.full((len(lengths), 77), pad)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(1, WORDS, (length,))
        ids[row, 0], ids[row, length - 1] = START, END
    return ids


def uncut(model: CLIP, ids: Tensor) -> Tensor:
    return nn.functional.normalize(model.text_proj(model.text(ids).pooled), dim=-1)


@pytest.fixture
def clip() -> CLIP:
    model = CLIP(SMALL)
    return stir(model)  # type: ignore[return-value]


def test_texts_are_read_at_their_first_end_token(clip: CLIP) -> None:
    """Trap 28: short, cut at 77 and padded prompts; padded with 0 or, as transformers does, with the end."""
    ids = prompts(2, 5, 77, 76)
    out = clip.text(ids)
    for row, length in enumerate((2, 5, 77, 76)):
        assert torch.equal(out.pooled[row], out.tokens[row, length - 1])
    ends = torch.where(ids == 0, END, ids)
    assert torch.equal(clip.text(ends).pooled, out.pooled)
    assert torch.equal(clip.encode_text(ends), clip.encode_text(ids))


def test_an_end_token_can_be_named(clip: CLIP) -> None:
    """Trap 28: a token added behind the end of the vocabulary breaks argmax, and nothing else."""
    added = clip.config.text.model_copy(update={"vocab_size": 101, "eot_id": END})
    twin = CLIPText(added).eval()
    state = clip.text.state_dict()
    words = torch.cat([state["words.weight"], torch.randn(1, 64)])
    twin.load_state_dict(state | {"words.weight": words})
    ids = prompts(6)
    ids[0, 2] = 100
    assert twin.eot_index(ids).tolist() == [5]
    assert clip.text.eot_index(ids).tolist() == [2]
    assert torch.equal(twin(ids).pooled, twin(ids).tokens[:, 5])


def test_what_follows_the_end_is_not_seen_and_what_precedes_it_is(clip: CLIP) -> None:
    """Trap 29."""
    ids = prompts(9)
    after, before = ids.clone(), ids.clone()
    after[0, 9:] = torch.randint(1, WORDS, (68,))
    before[0, 3] = before[0, 3] % (WORDS - 1) + 1
    assert torch.equal(clip.text(after).pooled, clip.text(ids).pooled)
    assert torch.equal(clip.encode_text(after), clip.encode_text(ids))
    assert not torch.allclose(clip.text(before).pooled, clip.text(ids).pooled)
    assert torch.equal(clip.text(before).tokens[:, :3], clip.text(ids).tokens[:, :3])


@pytest.mark.parametrize(
    "lengths", [(2,), (3,), (2, 3), (2, 2, 2), (12, 5, 7), (2, 16, 17), (33, 40), (76,), (65, 2), (77, 3)]
)
@pytest.mark.parametrize("width", [64, 192])
def test_cutting_a_batch_of_texts_changes_no_bit(lengths: tuple[int, ...], width: int) -> None:
    text = TEXT.model_copy(update={"width": width, "num_heads": width // 64})
    model = CLIP(SMALL.model_copy(update={"text": text})).eval()
    ids = prompts(*lengths)
    with torch.no_grad():
        assert torch.equal(model.encode_text(ids), uncut(model, ids))


def test_texts_are_cut_to_the_longest_of_the_batch(clip: CLIP) -> None:
    seen: list[int] = []
    clip.text.blocks.register_forward_hook(lambda module, args, out: seen.append(args[0].shape[1]))
    for lengths in ((4,), (4, 12), (77,), (3, 4, 5, 6)):
        clip.encode_text(prompts(*lengths))
    assert seen == [16, 12, 77, 6]
    assert clip.encode_text(prompts()).shape == (0, 48)


@pytest.mark.slow
def test_exported_programs_read_texts_of_any_length(clip: CLIP) -> None:
    """Traced code keeps all columns, so it is right for texts longer than the one it was traced with."""

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.clip = clip

        def forward(self, ids: Tensor) -> Tensor:
            return self.clip.encode_text(ids)

    program = torch.export.export(Reader(), (prompts(4, 5),)).module()
    ids = prompts(30, 77)
    torch.testing.assert_close(program(ids), clip.encode_text(ids))


def test_the_scale_is_a_logarithm_taken_back_once_and_kept_below_100(clip: CLIP) -> None:
    """Trap 32. fp32 cannot hold ln 100 any closer than to 1e-7 of 100."""
    assert CLIP(SMALL).logit_scale.item() == pytest.approx(1 / 0.07)
    for given in (4.6052, 4.7, 1e9):
        clip.log_logit_scale.data.fill_(given)
        clip.clamp_logit_scale()
        assert clip.log_logit_scale.item() == pytest.approx(LARGEST_LOG_LOGIT_SCALE, abs=1e-6)
        assert clip.logit_scale.item() == pytest.approx(100, rel=1e-7)
    clip.log_logit_scale.data.fill_(1.5)
    clip.clamp_logit_scale()
    assert clip.logit_scale.item() == pytest.approx(math.exp(1.5))
    out = clip(torch.randn(1, 3, 32, 32), prompts(4))
    assert out.logit_scale.item() == pytest.approx(math.exp(1.5))
    assert out.logit_scale.requires_grad


def test_a_vit_has_no_patch_bias_and_a_norm_before_its_blocks() -> None:
    """Trap 38."""
    keys = set(CLIP(SMALL).vision.state_dict())
    assert "patch_embed.proj.bias" not in keys
    assert {"norm_pre.weight", "norm_pre.bias", "norm.weight"} <= keys
    assert not any(key.startswith("head") for key in keys)


def test_features_for_a_probe_come_before_the_projection(clip: CLIP) -> None:
    """Trap 37."""
    pixels = torch.randn(2, 3, 32, 32)
    features = clip.image_features(pixels)
    assert features.shape == (2, 128)
    assert not torch.allclose(features.norm(dim=-1), torch.ones(2))
    projected = nn.functional.normalize(clip.vision_proj(features), dim=-1)
    torch.testing.assert_close(clip.encode_image(pixels), projected)
    assert clip.encode_image_tokens(pixels).shape == (2, 17, 128)


def test_a_resnet_has_no_projection_of_its_own() -> None:
    model = stir(CLIP(CLIPConfig(vision=RESNET, text=TEXT, embed_dim=48)))
    pixels = torch.randn(2, 3, 32, 32)
    assert "vision_proj.weight" not in model.state_dict()
    assert model.image_features(pixels).shape == (2, 48)
    assert model.encode_image_tokens(pixels).shape == (2, 1, 256)
    torch.testing.assert_close(model.encode_image(pixels).norm(dim=-1), torch.ones(2))


def test_embeddings_are_unit_vectors_in_fp32_whatever_the_weights_are(clip: CLIP) -> None:
    out = clip.bfloat16()(torch.randn(2, 3, 32, 32).bfloat16(), prompts(4, 5, 6))
    assert out.image_embed.shape == (2, 48)
    assert out.text_embed.shape == (3, 48)
    for embed in (out.image_embed, out.text_embed):
        assert embed.dtype == torch.float32
        torch.testing.assert_close(embed.norm(dim=-1), torch.ones(len(embed)))


def test_weights_start_as_the_released_code_has_them() -> None:
    torch.manual_seed(1)
    model = CLIP(SMALL)
    width, depth = TEXT.width, TEXT.depth
    block, vision = model.text.blocks[0], model.vision.blocks[0]
    out = width**-0.5 * (2 * depth) ** -0.5
    for weight, std in (
        (model.text.words.weight, 0.02),
        (model.text.positions, 0.01),
        (block.attn.qkv.weight, width**-0.5),
        (block.attn.proj.weight, out),
        (block.mlp.fc1.weight, (2 * width) ** -0.5),
        (block.mlp.fc2.weight, out),
        (model.text_proj.weight, width**-0.5),
        (model.vision_proj.weight, 128**-0.5),
        (model.vision.pos_embed, 128**-0.5),
        (vision.attn.qkv.weight, math.sqrt(2 / (128 + 384))),  # torch's own, xavier over q, k, v together
        (vision.mlp.fc1.weight, (3 * 128) ** -0.5),  # torch's own
    ):
        assert weight.std().item() == pytest.approx(std, rel=0.06)
    for layer in (block.attn.qkv, block.attn.proj, vision.attn.qkv, vision.attn.proj):
        assert not layer.bias.any()


def test_long_texts_are_refused(clip: CLIP) -> None:
    ids = torch.cat([torch.ones(1, 77, dtype=torch.int64), torch.tensor([[END]])], 1)
    with pytest.raises(ShapeError, match="texts of 78 tokens"):
        clip.encode_text(ids)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {**c, "vision": RESNET.model_dump() | {"embed_dim": 12}}, "vision.embed_dim 12 is not"),
        (lambda c: {**c, "vision": VIT.model_dump() | {"num_classes": 3}}, "CLIP has no classifier"),
        (lambda c: {**c, "text": TEXT.model_dump() | {"num_heads": 5}}, "width by num_heads"),
        (lambda c: {**c, "text": TEXT.model_dump() | {"eot_id": 100}}, "eot_id 100 is outside"),
    ],
)
def test_sizes_that_do_not_fit_are_named(change: Callable[[dict], dict], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CLIPConfig.model_validate(change(SMALL.model_dump()))


@pytest.mark.slow
@pytest.mark.peer
def test_text_is_five_times_as_fast_as_open_clips() -> None:
    """At captions of about 12 tokens, on the sizes of ViT-B/32; the ratio here is typically 6 to 7."""
    import time

    from open_clip.model import CLIP as Theirs

    text = {"width": 512, "heads": 8, "layers": 12}
    vision = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1}
    theirs = Theirs(512, vision, text, quick_gelu=True).eval()
    sizes = CLIPTextConfig(width=512, depth=12, num_heads=8, mlp_dim=2048)
    ours = CLIP(SMALL.model_copy(update={"text": sizes, "embed_dim": 512})).eval()
    ids = prompts(*(10 + row % 3 for row in range(16)))
    seconds: dict[str, float] = {}
    with torch.no_grad():
        for _ in range(3):
            for name, encode in (("ours", ours.encode_text), ("theirs", theirs.encode_text)):
                start = time.perf_counter()
                encode(ids)
                seconds[name] = min(seconds.get(name, math.inf), time.perf_counter() - start)
    assert seconds["theirs"] / seconds["ours"] >= 5
