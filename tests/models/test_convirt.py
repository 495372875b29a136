import torch

from limner.models.bert import BertConfig
from limner.models.convirt import VARIANTS, ConVIRT, ConVIRTConfig
from limner.models.resnet import ResNetConfig

CONFIG = ConVIRTConfig(
    vision=ResNetConfig(block="basic", depths=(1,), widths=(6,), num_classes=0),
    text=BertConfig(vocab_size=20, width=8, depth=1, num_heads=2, mlp_dim=8, memory_width=8),
    embed_dim=4,
)


def test_texts_are_the_largest_of_their_real_tokens_projected():
    model = ConVIRT(CONFIG).eval()
    ids = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]])
    mask = ids > 0
    tokens, found = model.text(ids, mask), model.encode_text(ids, mask)
    for row, length in enumerate((4, 3)):
        largest = torch.stack([max(tokens[row, :length, d]) for d in range(8)])
        hidden = (model.text_proj[0].weight @ largest + model.text_proj[0].bias).clamp(min=0)
        want = model.text_proj[2].weight @ hidden + model.text_proj[2].bias
        torch.testing.assert_close(found[row], want / want.norm(), rtol=1e-4, atol=1e-5)


def test_pictures_are_unit_vectors_and_features_come_before_the_projection():
    model, pixels = ConVIRT(CONFIG).eval(), torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(model.encode_image(pixels).norm(dim=1), torch.ones(3))
    torch.testing.assert_close(model.image_features(pixels), model.vision(pixels).pooled)


def test_the_paper_s_space():
    config = VARIANTS["convirt_resnet50"].config
    assert (config.embed_dim, config.temperature) == (512, 0.1)
