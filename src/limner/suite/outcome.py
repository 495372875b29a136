"""What a task of the suite finds: measures with intervals, one line a sample, details for plots, notes."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from limner.evaluate.metrics import bootstrap_interval


class Measure(NamedTuple):
    """One number of a task.

    Args:
        value: as the protocol defines it.
        low: lower end of its 95 % interval over samples; None where it has none.
        high: upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None


class Outcome(NamedTuple):
    """What a task found of one model on one table.

    Args:
        measures: name → number; the first is the one to quote.
        samples: one plain dict a sample, `key` first; `limner compare` pairs them by it. What a sample
            adds to the first measure is its `score`.
        details: plain values for records, plots and pages: confusion, per class, curves.
        notes: what a reader must know: where the protocol differs from the paper's, what looks wrong.
    """

    measures: dict[str, Measure]
    samples: Sequence[dict[str, Any]] = ()
    details: Mapping[str, Any] = MappingProxyType({})
    notes: tuple[str, ...] = ()

    def values(self) -> dict[str, float]:
        """Measures without their intervals."""
        return {name: measure.value for name, measure in self.measures.items()}


def mean_of(values: Float[np.ndarray, " n"] | Sequence[float], seed: int = 0) -> Measure:
    """The mean of a value a sample, with its percentile bootstrap interval.

    Args:
        values: one a sample.
        seed: of the resampling.
    Raises: DataError when there are none.
    """
    array = np.asarray(values, dtype=np.float64)
    low, high = bootstrap_interval(array, seed)
    return Measure(float(array.mean()), low, high)
