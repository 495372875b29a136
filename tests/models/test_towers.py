import pytest
import torch

from limner.models.bert import Bert, BertConfig
from limner.models.resnet import ResNetConfig
from limner.models.towers import backbone, encoder_of, require_headless, see, text_tower, width_of
from limner.models.vit_config import ViTConfig

RESNET = ResNetConfig(block="bottleneck", depths=(1, 1), widths=(8, 8), num_classes=0)
VIT = ViTConfig(image_size=32, patch_size=8, width=16, depth=1, num_heads=2, mlp_dim=16)


@pytest.mark.parametrize("config", [RESNET, VIT])
def test_tokens_and_the_vector_are_those_of_the_encoder(config):
    vision, pixels = encoder_of(config).eval(), torch.randn(2, 3, 32, 32)
    seen, read = see(vision, pixels), vision(pixels)
    assert seen.tokens.shape[2] == seen.pooled.shape[1] == width_of(config)
    torch.testing.assert_close(seen.pooled, read.pooled)
    if config is RESNET:
        torch.testing.assert_close(seen.tokens[:, 1], read.features[:, :, 0, 1])
    else:
        assert torch.equal(seen.tokens, read.tokens)


@pytest.mark.parametrize(
    "config",
    [
        RESNET.model_copy(update={"num_classes": 3}),
        VIT.model_copy(update={"pool": "gap_norm"}),
        VIT.model_copy(update={"distilled": True}),
    ],
)
def test_what_captions_would_not_train_is_refused(config):
    require_headless(VIT)
    with pytest.raises(ValueError, match="num_classes=0"):
        require_headless(config)


def test_a_text_tower_is_bert_without_a_picture():
    config = BertConfig(vocab_size=20, width=8, depth=2, num_heads=2, mlp_dim=8, memory_width=8)
    torch.manual_seed(0)
    whole = Bert(config).eval()
    torch.manual_seed(0)
    tower, ids = text_tower(config).eval(), torch.randint(0, 20, (2, 5))
    assert torch.equal(tower(ids), whole(ids))
    assert not [name for name, _ in tower.named_parameters() if "cross" in name]


def test_a_named_backbone_comes_without_its_classifier():
    for name in ("resnet50", "vit_b32"):
        config, line = backbone(name)
        assert config.num_classes == 0
        assert line.image_spec.size == 224
