import pytest
import torch
from pydantic import ValidationError

from limner.models.ngrams import NGrams, NGramsConfig
from limner.models.vit_config import ViTConfig

VIT = ViTConfig(image_size=16, patch_size=8, width=8, depth=1, num_heads=2, mlp_dim=8)


def test_scores_are_products_of_the_picture_and_each_n_gram():
    model = NGrams(NGramsConfig(vision=VIT, num_ngrams=7)).eval()
    read = model(torch.randn(2, 3, 16, 16))
    torch.testing.assert_close(read.logits, read.pooled @ model.ngrams.weight.T)
    assert dict(model.ngrams.named_parameters()).keys() == {"weight"}


def test_a_pooler_is_refused():
    with pytest.raises(ValidationError, match="representation_dim=0"):
        NGramsConfig(vision=VIT.model_dump() | {"representation_dim": 4})
