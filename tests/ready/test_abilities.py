"""What each family can be asked, and what is said where it cannot."""

import pytest

from limner.checkpoint import Bundle, load
from limner.errors import ConfigError
from limner.ready.abilities import ABILITIES, abilities, answers_as_prompts, class_count, require

CAN = {
    "resnet": {"encode_image", "classify"},
    "vit": {"encode_image", "classify"},
    "masked_patch": {"encode_image"},
    "clip": {"encode_image", "encode_text", "classify", "match"},
    "blip": {"encode_image", "encode_text", "classify", "caption", "match"},
    "captioner": {"encode_image", "caption"},
    "matcher": {"encode_image", "match"},
    "classifier": {"encode_image", "classify"},
    "blip_vqa": {"encode_image", "answer"},
    "blip_nlvr2": {"encode_image", "judge"},
}


@pytest.mark.parametrize("kind", CAN)
def test_abilities_by_family(bundles: dict[str, Bundle], kind: str) -> None:
    bundle = bundles[kind]
    assert set(abilities(bundle)) == CAN[kind]
    for name, ability in ABILITIES.items():
        if name in CAN[kind]:
            require(bundle, name)
            continue
        with pytest.raises(ConfigError) as caught:
            require(bundle, name)
        assert caught.value.given.startswith(f"{name} with {bundle.kind}, which can: encode_image")
        assert (caught.value.wanted, caught.value.hint) == (ability.wanted, ability.hint)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("clip", "encode_text"),
        ("clip", "classify"),
        ("blip", "caption"),
        ("matcher", "match"),
        ("blip_vqa", "answer"),
        ("blip_nlvr2", "judge"),
    ],
)
def test_a_missing_tokenizer_is_asked_for(bundles: dict[str, Bundle], kind: str, name: str) -> None:
    bundle = bundles[kind]._replace(tokenizer=None)
    assert abilities(bundle) == ("encode_image",)
    with pytest.raises(ConfigError, match=r"(?s)it has no tokenizer.*tokenizer=FOLDER"):
        require(bundle, name)


def test_the_recipe_tells_of_questions(bundles: dict[str, Bundle]) -> None:
    assert answers_as_prompts(load("limner_tiny"))
    asked = bundles["blip"]._replace(recipe={"objective": {"qa": 0.5}})
    assert answers_as_prompts(asked)
    assert not answers_as_prompts(asked._replace(recipe={"objective": {"qa": 0}}))
    assert not answers_as_prompts(bundles["matcher"]._replace(recipe={"objective": {"qa": 1}}))


def test_classes_are_counted(bundles: dict[str, Bundle]) -> None:
    counts = {kind: class_count(bundle.model) for kind, bundle in bundles.items()}
    assert {kind for kind, count in counts.items() if count == 4} == {"resnet", "vit", "classifier"}
    assert set(counts.values()) == {0, 4}
