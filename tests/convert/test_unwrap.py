"""Which state dict is taken out of a file, and what is said of the rest."""

import pytest
import torch

from limner.convert.rebuilt import Blueprint, Inert, Name, StorageRef
from limner.convert.unwrap import WRAPPERS, strip_npz, unwrap
from limner.errors import CheckpointError


def plan(count: int = 4) -> Blueprint:
    return Blueprint(StorageRef("0", torch.float32, count), torch.float32, 0, (count,), (1,))


W, B = plan(), plan(2)


@pytest.mark.parametrize("key", WRAPPERS)
def test_every_wrapper(key):
    found = unwrap({"epoch": 3, key: {"w": W, "b": B}}, "x")
    assert found.tensors == {"w": W, "b": B}
    assert found.facts == {"epoch": 3, "wrapper": key}


def test_no_wrapper():
    found = unwrap({"w": W}, "x")
    assert (found.tensors, found.facts) == ({"w": W}, {})


def test_the_order_of_preference_is_ours_whatever_the_file_s():
    inner = {key: {"w": plan(n + 2)} for n, key in enumerate(WRAPPERS)}
    for order in (WRAPPERS, WRAPPERS[::-1]):
        value = {key: inner[key] for key in order}
        found = unwrap(value, "x")
        assert found.tensors["w"].count == 2
        assert found.facts["wrapper"] == "state_dict"
        assert sorted(found.facts["left_out"]) == sorted(WRAPPERS[1:])


def test_wrappers_in_wrappers_and_a_single_unknown_one():
    found = unwrap({"model": {"state_dict": {"w": W}, "note": "a"}, "step": 1}, "x")
    assert found.tensors == {"w": W}
    assert found.facts == {"step": 1, "note": "a", "wrapper": "model.state_dict"}
    assert unwrap({"backbone_weights": {"w": W}}, "x").facts == {"wrapper": "backbone_weights"}


def test_a_tensor_beside_the_state_dict_is_a_fact_when_it_is_one_number():
    found = unwrap({"state_dict": {"w": W}, "best_acc1": plan(1), "queue": plan(64)}, "x")
    assert set(found.scalars) == {"best_acc1"}
    assert found.facts["left_out"] == ["queue"]


def test_several_sets_of_weights_are_not_chosen_among():
    with pytest.raises(CheckpointError, match="2 sets of weights: 'encoder', 'decoder'") as caught:
        unwrap({"encoder": {"w": W}, "decoder": {"w": B}}, "x")
    assert "file of its own" in caught.value.hint


@pytest.mark.parametrize("value", [{}, {"epoch": 3}, {"state_dict": {}}, {"model": {"epoch": 1}}, {3: W}])
def test_no_tensors_by_name(value):
    with pytest.raises(CheckpointError, match="no tensors by name"):
        unwrap(value, "x")


@pytest.mark.parametrize(
    ("value", "what"), [(W, "single tensor"), ([W], "list"), (3, "int"), (Name("a.B"), "a.B")]
)
def test_no_mapping(value, what):
    with pytest.raises(CheckpointError, match=f"x holds a {what}") as caught:
        unwrap(value, "x")
    assert "state_dict" in caught.value.hint


def test_prefixes_are_taken_when_every_key_has_them():
    value = {"_orig_mod.module.w": W, "_orig_mod.module.b": B}
    found = unwrap(value, "x")
    assert set(found.tensors) == {"w", "b"}
    assert found.facts["prefix"] == "_orig_mod.module."
    assert set(unwrap({"module.w": W, "b": B}, "x").tensors) == {"module.w", "b"}


def test_facts_are_plain_and_bounded():
    laughs: list[object] = []
    for _ in range(60):
        laughs = [laughs, laughs]
    loop: dict[str, object] = {}
    loop["self"] = loop
    found = unwrap(
        {
            "state_dict": {"w": W},
            "args": Inert("argparse.Namespace", {"lr": 0.1, "dtype": Name("torch.float16")}),
            "sizes": (1, (2, 3)),
            "by_number": {3: "a"},
            "laughs": laughs,
            "loop": loop,
            "held": {"w": W},
            "long": "a" * (1 << 20),
            "huge": 1 << 100,
            "raw": b"x",
        },
        "x",
    )
    assert found.facts.pop("left_out") == ["laughs", "loop", "held", "long", "huge", "raw"]
    assert found.facts == {
        "args": {"lr": 0.1, "dtype": "torch.float16"},
        "sizes": [1, [2, 3]],
        "by_number": {"3": "a"},
        "wrapper": "state_dict",
    }


def test_flax_prefixes():
    assert strip_npz({"a": 1, "b/c": 2}) == ({"a": 1, "b/c": 2}, "")
    assert strip_npz({"opt/target/a": 1, "opt/state/a": 2}) == ({"a": 1}, "opt/target/")
    assert strip_npz({"params/a": 1, "opt/0": 2}) == ({"a": 1}, "params/")
