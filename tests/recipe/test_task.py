"""How a recipe's model is opened or built; `test_tasks.py` has each kind."""

import pytest

from limner.errors import ConfigError
from limner.models.blip import BLIP
from limner.models.vit import ViT
from limner.recipe.task import grown, made, text_sizes
from limner.train.watch import silent


def test_a_model_is_built_at_the_sizes_that_are_asked_for(make_recipe):
    recipe = make_recipe("model.image_size=32")
    tokenizer = grown(recipe, silent)
    found = made(recipe, None, text_sizes(tokenizer), BLIP)
    assert found.name == "limner_tiny"
    assert found.spec.size == found.config.vision.image_size == 32
    assert found.config.text.vocab_size == tokenizer.vocab_size == found.model.config.text.vocab_size
    assert found.config.sep_id == tokenizer.sep_id
    assert found.config.vision.width == 16


def test_another_kind_of_model_is_refused(make_recipe):
    with pytest.raises(ConfigError, match="is a BLIP, and") as caught:
        made(make_recipe(), None, {}, ViT)
    assert 'model.name="vit_s16"' in str(caught.value)
