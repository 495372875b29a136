"""Class names: the public lists, the order of `id2label`, and tables that contradict themselves."""

import json
from typing import Any

import pytest

from limner.convert.labels import CIFAR_10, IMAGENET_1K, id2label, labels_from
from limner.errors import CheckpointError

NAMES = tuple(f"class {number}" for number in range(12))


def test_the_public_lists() -> None:
    assert len(IMAGENET_1K) == 1000
    assert (IMAGENET_1K[0], IMAGENET_1K[281], IMAGENET_1K[999]) == ("tench", "tabby", "toilet tissue")
    assert len(CIFAR_10) == 10
    assert (CIFAR_10[0], CIFAR_10[9]) == ("airplane", "truck")


def test_keys_are_sorted_as_numbers() -> None:
    shuffled = {str(number): NAMES[number] for number in sorted(range(12), key=str)}
    assert next(iter(shuffled)) == "0"
    assert list(shuffled)[2] == "10"
    assert labels_from({"id2label": shuffled}, 12) == NAMES


def test_placeholders_are_no_names() -> None:
    assert labels_from({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, 2) == ()
    assert labels_from({}, 2) == ()
    assert labels_from({"id2label": {}}, 0) == ()


def test_timm_names_and_descriptions() -> None:
    assert labels_from({"label_names": ["a", "b"]}, 2) == ("a", "b")
    inner = {"label_names": ["n02", "n01"], "label_descriptions": {"n01": "tench", "n02": "goldfish"}}
    assert labels_from({"pretrained_cfg": inner}, 2) == ("goldfish", "tench")
    assert labels_from({"label_names": ["n01"], "label_descriptions": {}}, 1) == ("n01",)
    assert labels_from({"label_names": {"1": "b", "0": "a"}}, 2) == ("a", "b")


def test_two_classes_of_one_name_are_kept() -> None:
    both = {"0": "crane", "1": "crane"}
    assert labels_from({"id2label": both, "label2id": {"crane": 1}}, 2) == ("crane", "crane")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "no name for class 1"),
        ({"id2label": {"0": "a", "b": "c"}}, "the key 'b'"),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1}}, "'a' is class 1"),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": "first"}}, "'a' is class first"),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 7}}, "'a' is class 7"),
        ({"id2label": {"0": "a"}}, "1 class names for 2 outputs"),
        ({"id2label": ["a", "b"]}, "id2label is a list"),
        ({"label_names": "ab"}, "label_names is a str"),
    ],
)
def test_names_that_cannot_be_trusted_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        labels_from(config, 2)


def test_what_is_written_is_read() -> None:
    assert labels_from(json.loads(json.dumps(id2label(NAMES))), 12) == NAMES
    assert id2label(()) == {}
