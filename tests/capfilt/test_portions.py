"""Work that fails now and then: on memory, on one row, on everything."""

from collections.abc import Sequence

import pytest
import torch

from limner.capfilt.portions import GROW_AFTER, Portions, is_out_of_memory
from limner.errors import ConfigError, TrainingError


def refuse(item: int, error: Exception) -> str:
    return f"{item} {type(error).__name__}"


class Machine:
    """Doubles numbers; has room for so many at once, and cannot bear some."""

    def __init__(self, room: int = 100, poison: Sequence[int] = ()) -> None:
        self.room, self.poison = room, set(poison)
        self.sizes: list[int] = []

    def __call__(self, part: Sequence[int]) -> list[str]:
        self.sizes.append(len(part))
        if len(part) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.poison & set(part):
            raise IndexError("index out of range in self")
        return [str(2 * one) for one in part]


def test_batches_shrink_when_memory_runs_out_and_grow_back() -> None:
    machine = Machine(room=3)
    walk = Portions(16, machine, refuse)
    assert walk(range(16)) == [str(2 * n) for n in range(16)]
    assert machine.sizes == [16, 8, 4, *[2] * 8]
    assert walk.size == 4
    machine.room = 100
    assert walk(range(1000)) == [str(2 * n) for n in range(1000)]
    assert (walk.size, max(machine.sizes[-5:])) == (16, 16)
    assert machine.sizes.count(4) == 1 + GROW_AFTER


def test_one_item_too_many_for_the_memory_fails_the_job() -> None:
    with pytest.raises(TrainingError, match="one picture at a time"):
        Portions(4, Machine(room=0), refuse)(range(4))


@pytest.mark.parametrize("poison", [[0], [5], [15], [2, 3], [0, 7, 8, 15]])
def test_a_poisoned_item_is_refused_alone(poison: list[int]) -> None:
    found = Portions(16, Machine(poison=poison), refuse)(range(16))
    assert found == [f"{n} IndexError" if n in poison else str(2 * n) for n in range(16)]


def test_a_last_portion_of_one_poisoned_item_is_refused_too() -> None:
    assert Portions(4, Machine(poison=[4]), refuse)(range(5))[-1] == "4 IndexError"
    assert Portions(4, Machine(poison=[4, 5, 6, 7]), refuse)(range(9))[4:] == [
        *(f"{n} IndexError" for n in (4, 5, 6, 7)),
        "16",
    ]


def test_what_fails_on_everything_is_raised() -> None:
    with pytest.raises(IndexError):
        Portions(4, Machine(poison=range(8)), refuse)(range(8))

    machine = Machine()
    walk = Portions(4, machine, refuse)
    assert len(walk(range(4))) == 4
    machine.poison = set(range(100))  # as a GPU after an assert: nothing works any more
    with pytest.raises(IndexError):
        walk(range(8, 12))


def test_what_the_user_can_mend_is_raised_as_it_is() -> None:
    def wrong(part: Sequence[int]) -> list[str]:
        raise ConfigError("too many tokens")

    with pytest.raises(ConfigError):
        Portions(4, wrong, refuse)(range(4))


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_told(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) == is_it
