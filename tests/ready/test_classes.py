"""Labels, templates and the ensemble of both."""

import pytest
import torch
import torch.nn.functional as F

from limner.checkpoint import Bundle
from limner.errors import ConfigError, DataError
from limner.ready.classes import TEMPLATES, ensemble, label_vectors, likeliest, own_labels, written_labels
from limner.ready.towers import text_vectors


def test_the_ensemble_normalises_before_and_after_the_mean() -> None:
    vectors = torch.tensor([[[3.0, 0.0], [0.0, 0.5]], [[2.0, 0.0], [4.0, 0.0]]])
    half = 2**-0.5
    torch.testing.assert_close(ensemble(vectors), torch.tensor([[half, half], [1.0, 0.0]]))
    careless = F.normalize(vectors.mean(1), dim=-1)
    assert not torch.allclose(ensemble(vectors), careless)


def test_label_vectors_are_those_of_the_written_texts(bundles: dict[str, Bundle]) -> None:
    for kind in ("clip", "blip"):
        found = label_vectors(bundles[kind], ["cat", "dog"], ["a {}", "the {} and the {}"], 3)
        texts = ["a cat", "the cat and the cat", "a dog", "the dog and the dog"]
        torch.testing.assert_close(found, ensemble(text_vectors(bundles[kind], texts, 9).view(2, 2, -1)))


def test_likeliest() -> None:
    found = likeliest(torch.tensor([[0.0, 1.0, 2.0]]), ["a", "b", "c"], 2)[0]
    assert [(one.label, one.index) for one in found] == [("c", 2), ("b", 1)]
    assert found[0].probability == pytest.approx(0.6652, abs=1e-4)


def test_own_labels(bundles: dict[str, Bundle]) -> None:
    assert own_labels(bundles["resnet"]) == ("cat", "dog", "owl", "fish")
    assert own_labels(bundles["vit"]) == ("0", "1", "2", "3")
    with pytest.raises(ConfigError, match=r"(?s)no classifier of its own.*labels="):
        own_labels(bundles["clip"])


def test_written_labels(bundles: dict[str, Bundle]) -> None:
    clip = bundles["clip"]
    assert written_labels(clip, ["a", "b"], None) == (("a", "b"), TEMPLATES)
    assert written_labels(clip, ["a"], "the {}") == (("a",), ("the {}",))


@pytest.mark.parametrize(
    ("labels", "templates", "match"),
    [
        ([], None, "no labels"),
        ("cat", None, "one label: 'cat'"),
        ([1], None, "label 0 is a int"),
        (["cat"], "a photo", "the template 'a photo'"),
        (["cat"], ["a {}", "b"], "the template 'b'"),
        (["cat"], [], "no templates"),
    ],
)
def test_labels_and_templates_that_are_wrong(
    bundles: dict[str, Bundle], labels: object, templates: object, match: str
) -> None:
    with pytest.raises(DataError, match=match):
        written_labels(bundles["blip"], labels, templates)


def test_labels_for_fixed_classes(bundles: dict[str, Bundle]) -> None:
    with pytest.raises(ConfigError, match="whose classes are fixed"):
        written_labels(bundles["resnet"], ["cat"], None)
