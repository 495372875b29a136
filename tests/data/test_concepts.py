import pytest

from limner.data.concepts import BY_NAME, CONCEPTS
from limner.data.emoji import STYLES, svg_path
from limner.data.scene_language import GROUNDS, NUMBERS


def test_there_are_enough_and_names_are_unique():
    assert 150 <= len(CONCEPTS) == len(BY_NAME)


def test_no_word_form_belongs_to_two_concepts():
    forms = [form for concept in CONCEPTS for form in {concept.name, concept.plural}]
    assert len(forms) == len(set(forms))


@pytest.mark.parametrize(
    ("name", "plural"),
    [
        ("fish", "fish"),
        ("sheep", "sheep"),
        ("deer", "deer"),
        ("bus", "buses"),
        ("fox", "foxes"),
        ("peach", "peaches"),
        ("strawberry", "strawberries"),
        ("butterfly", "butterflies"),
        ("key", "keys"),
        ("monkey", "monkeys"),
        ("cactus", "cacti"),
        ("mouse", "mice"),
        ("maple leaf", "maple leaves"),
        ("tooth", "teeth"),
        ("snowman", "snowmen"),
        ("volcano", "volcanoes"),
        ("octopus", "octopuses"),
        ("watch", "watches"),
        ("face with sunglasses", "faces with sunglasses"),
    ],
)
def test_plurals(name: str, plural: str):
    assert BY_NAME[name].plural == plural


@pytest.mark.parametrize("style", STYLES)
def test_every_view_is_drawn(style: str):
    views = [view.emoji for concept in CONCEPTS for view in concept.views]
    assert len(views) == len(set(views))
    assert [view for view in views if svg_path(view, style) is None] == []


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.name)
def test_names_and_colours_fit_the_grammar(concept):
    words = f"{concept.name} {concept.plural}".split()
    assert not {"and", "on", "to", "above", "below", "a", "an", *GROUNDS, *NUMBERS} & set(words)
    assert all(word.isalpha() and word.islower() for word in words)
    assert len(concept.colours) in (0, len(concept.views))
    assert set(concept.colours) <= {*GROUNDS}
