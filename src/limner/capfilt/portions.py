"""Work on many rows that may fail: batches shrink when memory runs out, and a poisoned row is found alone.

Out of memory halves the portions; after some that went well they double again, up to the batch asked for.
Any other failure is looked for by halving the portion: a row that fails alone is refused with its reason, and
costs nobody else. When a portion has no survivor, a row that went well before is tried once more: if that
fails too, something else is broken, and the failure is raised.
"""

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import torch

from limner.errors import LimnerError, TrainingError

T = TypeVar("T")
R = TypeVar("R")

GROW_AFTER: Final = 8
"""Portions that must go well before the next is twice as large."""


class Portions(Generic[T, R]):
    """Does work in portions.

    Args:
        limit: items in a portion at most.
        work: as many results as items, in order.
        refuse: the result of an item that fails alone, from it and what it raised.
    """

    def __init__(
        self, limit: int, work: Callable[[Sequence[T]], list[R]], refuse: Callable[[T, Exception], R]
    ) -> None:
        self.limit = self.size = limit
        self._work, self._refuse = work, refuse
        self._calm = 0
        self._good: T | None = None

    def __call__(self, items: Sequence[T]) -> list[R]:
        """One result an item, in order.

        Raises: TrainingError when a single item is too much for the memory; LimnerErrors of the work as they
            are; what the work raises where it fails on everything.
        """
        done: list[R] = []
        while len(done) < len(items):
            part = items[len(done) : len(done) + self.size]
            found = self._tried(part)
            if not isinstance(found, Exception):
                self._went_well(part)
                done += found
            elif is_out_of_memory(found):
                self._shrink(part, found)
            else:
                done += self._apart(part, found)
        return done

    def _tried(self, part: Sequence[T]) -> list[R] | Exception:
        """Results, or what was raised without the frames that hold its tensors."""
        try:
            return self._work(part)
        except LimnerError:
            raise
        except Exception as error:
            return error.with_traceback(None)

    def _went_well(self, part: Sequence[T]) -> None:
        self._good = part[0]
        self._calm += 1
        if self._calm >= GROW_AFTER and self.size < self.limit:
            self.size, self._calm = min(2 * self.size, self.limit), 0

    def _shrink(self, part: Sequence[T], error: Exception) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(part) == 1:
            raise TrainingError(
                "out of memory with one picture at a time",
                wanted="room for one",
                hint="take a smaller model, or fewer captions a picture",
            ) from error
        self.size, self._calm = len(part) // 2, 0

    def _apart(self, part: Sequence[T], error: Exception) -> list[R]:
        found = self._halved(part, error)
        failed = [isinstance(one, _Failed) for one in found]
        if all(failed) and (self._good is None or isinstance(self._tried([self._good]), Exception)):
            raise error
        if not all(failed):
            self._good = part[failed.index(False)]
        return [
            self._refuse(item, one.error) if isinstance(one, _Failed) else one
            for item, one in zip(part, found, strict=True)
        ]

    def _halved(self, part: Sequence[T], error: Exception) -> list["R | _Failed"]:
        if len(part) == 1:
            return [_Failed(error)]
        results: list[R | _Failed] = []
        for half in (part[: len(part) // 2], part[len(part) // 2 :]):
            found = self._tried(half)
            results += self._halved(half, found) if isinstance(found, Exception) else found
        return results


class _Failed:
    """Stands for an item that failed alone."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception says that memory ran out, a GPU's or the machine's."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError)
        and any(words in str(error) for words in ("out of memory", "can't allocate memory"))
    )
