import pytest
import torch
from pydantic import ValidationError

from limner.errors import ShapeError
from limner.models.masked_patch import (
    COLOURS,
    MASK,
    MaskedPatch,
    MaskedPatchConfig,
    corruption_plan,
    mean_colours,
)
from limner.models.vit import ViTConfig

VISION = ViTConfig(image_size=32, patch_size=8, width=24, depth=2, num_heads=3, mlp_dim=40)
CONFIG = MaskedPatchConfig(vision=VISION)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_corruption_has_the_paper_s_shares() -> None:
    corrupted, source = corruption_plan(5104, 196, generator())  # 1,000,384 patches
    own = torch.arange(196).expand_as(source)
    masked, moved = source == MASK, (source != MASK) & (source != own)
    assert abs(corrupted.float().mean() - 0.5) < 0.001
    assert abs(masked.float().mean() - 0.4) < 0.001
    assert abs(moved.float().mean() - 0.05) < 0.001
    assert abs((corrupted & (source == own)).float().mean() - 0.05) < 0.001
    assert torch.equal(source[~corrupted], own[~corrupted])


def test_other_patches_are_all_equally_likely() -> None:
    _, source = corruption_plan(20_000, 4, generator(), rate=1.0, mask_share=0.0, other_share=1.0)
    for place in range(4):
        counts = source[:, place].bincount(minlength=4) / 20_000
        want = torch.full((4,), 1 / 3)
        want[place] = 0
        torch.testing.assert_close(counts, want, atol=0.02, rtol=0)


def test_plan_is_the_generator_s() -> None:
    first, again, other = (corruption_plan(3, 16, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.source, again.source)
    assert not torch.equal(first.source, other.source)
    assert not corruption_plan(3, 16, generator(), rate=0.0).corrupted.any()


@pytest.mark.parametrize(
    "change", [{"patches": 1}, {"rate": 1.5}, {"mask_share": -0.1}, {"mask_share": 0.8, "other_share": 0.3}]
)
def test_impossible_plans_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ShapeError, match="patches, rate"):
        corruption_plan(**({"batch": 1, "patches": 4, "generator": generator()} | change))


def test_colours_equal_a_loop_over_patches() -> None:
    pixels = torch.rand(2, 3, 19, 16)
    found = mean_colours(pixels, 8)
    assert found.shape == (2, 4)
    for picture in range(2):
        for row in range(2):
            for column in range(2):
                patch = pixels[picture, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                red, green, blue = (min(int(channel.mean().item() * 8), 7) for channel in patch)
                assert found[picture, 2 * row + column] == red * 64 + green * 8 + blue


def test_colours_are_0_to_511_and_each_is_used() -> None:
    levels = torch.arange(8) / 8 + 1 / 16
    cube = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 1, 512)
    assert torch.equal(mean_colours(cube, 1)[0], torch.arange(COLOURS))
    ends = torch.tensor([0.0, 1.0]).expand(3, 1, 2)[None]
    assert mean_colours(ends, 1).tolist() == [[0, 511]]


def test_what_is_masked_cannot_be_seen() -> None:
    model = MaskedPatch(CONFIG).eval()
    source = torch.arange(16).repeat(1, 1)
    source[0, 6] = MASK
    pixels = torch.randn(1, 3, 32, 32)
    changed = pixels.clone()
    changed[:, :, 8:16, 16:24] += 1  # patch 6
    hidden, same = model(pixels, source), model(changed, source)
    assert torch.equal(hidden.logits, same.logits)
    assert hidden.logits.shape == (1, 16, COLOURS)
    whole = torch.arange(16)[None]
    assert not torch.allclose(model(pixels, whole).logits, model(changed, whole).logits)


def test_another_patch_stands_where_the_plan_says() -> None:
    model = MaskedPatch(CONFIG).eval()
    pixels = torch.randn(1, 3, 32, 32)
    source = torch.arange(16)[None].clone()
    source[0, 0], source[0, 5] = 5, MASK
    patches = model.vision.patch_embed(pixels)
    patches[0, 0], patches[0, 5] = patches[0, 5].clone(), model.mask_token[0, 0]
    torch.testing.assert_close(model(pixels, source).tokens, model.vision.encode(patches))


def test_whole_pictures_read_as_the_encoder_reads_them() -> None:
    model = MaskedPatch(CONFIG).eval()
    pixels = torch.randn(2, 3, 32, 32)
    plan = corruption_plan(2, 16, generator(), rate=0.0)
    assert torch.equal(model(pixels, plan.source).tokens, model.vision(pixels).tokens)


def test_plan_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"a plan of \(2, 9\) for patches of \(2, 16\)"):
        MaskedPatch(CONFIG)(torch.randn(2, 3, 32, 32), torch.zeros(2, 9, dtype=torch.int64))


@pytest.mark.parametrize(
    "change", [{"num_classes": 5}, {"representation_dim": 5}, {"distilled": True}, {"pool": "gap_norm"}]
)
def test_encoders_with_parts_it_would_not_train_are_refused(change: dict[str, object]) -> None:
    vision = ViTConfig.model_validate(VISION.model_dump() | change)
    with pytest.raises(ValidationError, match="masked patches train the encoder alone"):
        MaskedPatchConfig(vision=vision)


def test_it_learns_colours_it_cannot_see() -> None:
    """Pictures of one colour: a masked patch has the colour of its neighbours."""
    torch.manual_seed(0)
    model = MaskedPatch(CONFIG)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    colours = torch.tensor([[0.1, 0.1, 0.9], [0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.9, 0.9, 0.1]])
    losses = []
    for step in range(150):
        pixels = colours[torch.randint(4, (16,), generator=generator(step))][:, :, None, None].expand(
            -1, -1, 32, 32
        )
        plan = corruption_plan(16, 16, generator(step))
        logits = model(pixels * 2 - 1, plan.source).logits[plan.corrupted]
        loss = torch.nn.functional.cross_entropy(logits, mean_colours(pixels, 8)[plan.corrupted])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 5
    assert sum(losses[-5:]) / 5 < 0.3  # ln 4 is what knowing the four colours gives
