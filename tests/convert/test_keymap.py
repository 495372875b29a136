import pytest
import torch

from limner.convert.keymap import (
    KeyMap,
    fused,
    leftovers,
    nested,
    read,
    renamed,
    reshaped,
    same,
    transposed,
    write,
)
from limner.errors import CheckpointError

MAP = KeyMap(
    (
        same("head", "classifier"),
        fused("qkv", ("q", "k", "v")),
        fused("kv", ("a", "b"), sizes=(1, 3)),
        transposed("proj", "projection"),
        reshaped("token", "cls", (1, 1, 4), (4,)),
        same("tracked", "tracked"),
    ),
    droppable=(r"position_ids", r"queue_\d"),
    fills={"tracked": torch.tensor(0)},
)
THEIRS = {
    "classifier": torch.randn(3),
    **{name: torch.randn(2, 2) for name in "qkv"},
    "a": torch.randn(1, 2),
    "b": torch.randn(3, 2),
    "projection": torch.randn(2, 5),
    "cls": torch.randn(4),
}


def test_extras_are_written_and_not_read():
    table = KeyMap((same("a", "b"),), extras={"ids": torch.arange(3)})
    ours = {"a": torch.ones(2)}
    assert torch.equal(write(ours, table)["ids"], torch.arange(3))
    assert leftovers({"b"}, table) == leftovers({"b", "ids"}, table) == ([], [])
    assert read(write(ours, table), table, "file").keys() == {"a"}


def test_round_trip_is_bit_equal():
    ours = read(THEIRS, MAP, "file")
    assert ours["qkv"].shape == (6, 2)
    assert ours["proj"].shape == (5, 2)
    assert ours["token"].shape == (1, 1, 4)
    back = write(ours, MAP)
    assert back.keys() == THEIRS.keys() | {"tracked"}
    assert all(torch.equal(back[key], THEIRS[key]) for key in THEIRS)


def test_droppable_keys_and_fills_are_no_errors():
    extra = {"position_ids": torch.arange(3), "queue_1": torch.zeros(2), "tracked": torch.tensor(7)}
    ours = read(THEIRS | extra, MAP, "file")
    assert ours["tracked"] == 7
    assert ours.keys() == {"head", "qkv", "kv", "proj", "token", "tracked"}


def test_missing_and_unused_keys_are_both_fatal():
    wrong = {key: value for key, value in THEIRS.items() if key != "k"} | {"xposition_ids": torch.zeros(1)}
    assert leftovers(wrong, MAP) == (["k"], ["xposition_ids"])
    with pytest.raises(
        CheckpointError, match=r"1 missing keys \['k'\], 1 without a place \['xposition_ids'\]"
    ):
        read(wrong, MAP, "file")


def test_a_format_without_room_is_refused():
    ours = read(THEIRS, MAP, "file")
    with pytest.raises(CheckpointError, match=r"no place in this format \['extra'\]"):
        write(ours | {"extra": torch.zeros(1)}, MAP)
    del ours["head"]
    with pytest.raises(CheckpointError, match=r"absent \['head'\]"):
        write(ours, MAP)


def test_prefixes_and_modules():
    lines = nested(renamed("norm", "ln"), "vision.", "visual.")
    assert [(line.ours, line.theirs) for line in lines] == [
        ("vision.norm.weight", ("visual.ln.weight",)),
        ("vision.norm.bias", ("visual.ln.bias",)),
    ]
