"""Whether a claim of a paper holds here: differences of arms, paired by seed, with an interval and a verdict.

Source: the paired t interval, Student 1908 (Biometrika 6).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from scipy import stats

REPRODUCED: Final = "reproduced"
NOT: Final = "not reproduced"
UNKNOWN: Final = "too small to tell"

LEVEL: Final = 0.95


class Claim(NamedTuple):
    """A paper says that one arm is above another.

    Args:
        table: where it says so.
        better: the arm that is to be above.
        worse: the other.
        text: the claim in words.
    """

    table: str
    better: str
    worse: str
    text: str


class Estimate(NamedTuple):
    """A mean over seeds.

    Args:
        value: the mean.
        low: lower end of its interval, minus infinity for one seed.
        high: upper end.
        seeds: how many.
    """

    value: float
    low: float
    high: float
    seeds: int


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean with its t interval; a single value has no end to its interval.

    Args:
        values: one a seed; for a comparison, the differences seed by seed.
        level: coverage, (0, 1).
    """
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Estimate(mean, -math.inf, math.inf, count)
    half = float(stats.t.ppf((1 + level) / 2, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return Estimate(mean, mean - half, mean + half, count)


def verdict(difference: Estimate) -> str:
    """What an interval of better − worse allows to say of the claim."""
    if difference.low > 0:
        return REPRODUCED
    return NOT if difference.high < 0 else UNKNOWN


Measured = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Arm → seed → measure → value."""


def judged(
    claims: Sequence[Claim], measured: Measured, paper: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Hold every claim against every measure that both of its arms have, here and in the paper.

    Args:
        claims: of the paper.
        measured: what came out here; seeds that only one arm has are left out.
        paper: arm → measure → the paper's number.
    Returns: for each claim and measure its fields, `measure`, the `difference` here with `low`, `high` and
        `seeds`, the paper's difference `paper`, and the `verdict`.
    """
    found = []
    for claim in claims:
        one, other = measured.get(claim.better, {}), measured.get(claim.worse, {})
        seeds = sorted({*one} & {*other})
        for measure, number in paper[claim.better].items():
            pairs = [(one[s][measure], other[s][measure]) for s in seeds if measure in other[s]]
            if not pairs or measure not in paper[claim.worse]:
                continue
            gap = estimate([a - b for a, b in pairs])
            found.append(
                claim._asdict()
                | {"measure": measure, "difference": gap.value, "low": gap.low, "high": gap.high}
                | {"seeds": gap.seeds, "verdict": verdict(gap)}
                | {"paper": round(number - paper[claim.worse][measure], 4)}
            )
    return found


def summed_up(measured: Measured) -> list[dict[str, Any]]:
    """Mean and interval of each measure of each arm, arms in the order given."""
    rows = []
    for arm, seeds in measured.items():
        names = dict.fromkeys(name for values in seeds.values() for name in values)
        for name in names:
            known = estimate([values[name] for values in seeds.values() if name in values])
            rows.append({"arm": arm, "measure": name} | known._asdict())
    return rows
