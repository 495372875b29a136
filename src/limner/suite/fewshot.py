"""Curves over few labels a class, with the score that needs none beside them."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, PositiveInt

from limner.checkpoint import Bundle
from limner.errors import CheckpointError, DataError
from limner.evaluate.fewshot import draw, least_squares, repeats_interval, shots_worth
from limner.evaluate.pictures import Progress
from limner.evaluate.probe import fit, fit_around
from limner.evaluate.templates import templates_of
from limner.ready.abilities import has_joint_space
from limner.ready.towers import cosine_scale
from limner.suite.features import features
from limner.suite.outcome import Measure, Outcome, mean_of
from limner.suite.selection import Selection
from limner.suite.splits import Parts, SplitSettings, parts
from limner.suite.zeroshot import ZeroShotSettings, classes_of, zero_shot_weights

Method = Literal["probe", "from_text", "least_squares"]


class FewShotSettings(SplitSettings):
    """Which curves are drawn.

    Args:
        shots: labels a class, rising.
        repeats: draws of each.
        methods: "probe" is logistic regression, "from_text" one whose penalty is on the distance from the
            zero-shot classifier, "least_squares" ViT's closed form. "from_text" is left out where a model
            reads no texts.
        c: 1 / λ of both regressions; the paper does not say how λ is chosen with so few labels. This is its
            code's example.
        templates: of the zero-shot classifier.
        names: of the classes, as in zeroshot.
    """

    shots: tuple[PositiveInt, ...] = Field(default=(1, 2, 4, 8, 16), min_length=1)
    repeats: int = Field(default=5, ge=1)
    methods: tuple[Method, ...] = Field(default=("probe", "from_text", "least_squares"), min_length=1)
    c: float = Field(default=0.316, gt=0)
    templates: str = "imagenet"
    names: str = ""


class _Spaces(NamedTuple):
    """Features of both parts, and what texts say; None without a joint space."""

    train: Float[np.ndarray, "n d"]
    test: Float[np.ndarray, "m d"]
    text: "_Text | None"


class _Text(NamedTuple):
    """Vectors of both parts in the joint space, and the zero-shot classifier with its scale in it."""

    train: Float[np.ndarray, "n e"]
    test: Float[np.ndarray, "m e"]
    weights: Float[np.ndarray, "k e"]


def measure(
    bundle: Bundle, selection: Selection, settings: FewShotSettings, progress: Progress | None
) -> Outcome:
    """Measure the curves.

    Raises: CheckpointError when the model gives no features; DataError when a class has too few rows.
    """
    found = parts(selection, settings)
    spaces = _spaces(bundle, found, settings, progress)
    train_truth, truth = found.truth(found.train), found.truth(found.test)
    shots = _possible(settings.shots, train_truth)
    methods = [method for method in settings.methods if method != "from_text" or spaces.text]
    if not methods:
        raise CheckpointError(
            f"{bundle.path} is a {bundle.kind}, which reads no texts",
            wanted="a CLIP or a BLIP for from_text",
            hint='--set methods=["probe"]',
        )
    right = {
        method: {k: _repeated(method, spaces, train_truth, truth, k, settings) for k in shots}
        for method in methods
    }
    measures: dict[str, Measure] = {}
    for method, curve in right.items():
        measures |= {f"{method}_{k}": _over_repeats(each) for k, each in curve.items()}
    notes = [*found.notes, f"regressions with C = {settings.c:g}; the paper does not say how it is chosen"]
    if len(shots) < len(settings.shots):
        notes.append(
            f"the smallest class has {np.bincount(train_truth).min()} rows: {shots[-1]} shots at most"
        )
    details: dict[str, Any] = {
        "curves": {m: {str(k): e.mean(1).tolist() for k, e in c.items()} for m, c in right.items()}
    }
    if spaces.text:
        hits = (spaces.text.test @ spaces.text.weights.T).argmax(1) == truth
        measures["zero_shot"] = mean_of(hits.astype(np.float64))
        details["zero_shot"] = float(hits.mean())
        measures |= _worth(float(hits.mean()), right, notes)
    quoted = f"{methods[0]}_{shots[-1]}"
    each = right[methods[0]][shots[-1]].mean(0)
    samples = [
        {"key": key, "score": float(score), "truth": label}
        for key, score, label in zip(found.test.keys, each, found.test.labels, strict=True)
    ]
    ordered = {quoted: measures.pop(quoted), **measures}
    return Outcome(ordered, samples, details, tuple(notes))


def _spaces(bundle: Bundle, found: Parts, settings: FewShotSettings, progress: Progress | None) -> _Spaces:
    probe = [features(bundle, rows, "probe", progress) for rows in (found.train, found.test)]
    if not has_joint_space(bundle):
        return _Spaces(probe[0], probe[1], None)
    joint = [features(bundle, rows, "joint", progress) for rows in (found.train, found.test)]
    rows = found.test._replace(labels=[*found.train.labels, *found.test.labels])
    classes = classes_of(rows, ZeroShotSettings(names=settings.names))
    by_label = dict(zip(classes.labels, classes.names["name"], strict=True))
    names = [by_label[label] for label in found.classes]
    weights = zero_shot_weights(bundle, names, templates_of(settings.templates))
    text = _Text(joint[0], joint[1], weights * cosine_scale(bundle.model))
    return _Spaces(probe[0], probe[1], text)


def _possible(shots: Sequence[int], truth: Int[np.ndarray, " n"]) -> list[int]:
    """Those that every class has rows for.

    Raises: DataError when it is none.
    """
    counts = np.bincount(truth)
    fewest = int(counts[counts > 0].min())
    found = sorted(k for k in shots if k <= fewest)
    if not found:
        raise DataError(f"a class with {fewest} rows to fit on", wanted=f"{min(shots)} or more")
    return found


def _repeated(
    method: Method,
    spaces: _Spaces,
    train_truth: Int[np.ndarray, " n"],
    truth: Int[np.ndarray, " m"],
    shots: int,
    settings: FewShotSettings,
) -> Float[np.ndarray, "r m"]:
    """Whether each sample is right, in each repeat."""
    found = []
    for repeat in range(settings.repeats):
        places = draw(train_truth, shots, settings.seed + repeat)
        named = _METHODS[method](spaces, train_truth, places, settings).argmax(1)
        found.append(named == truth)
    return np.array(found, np.float64)


def _probe(
    spaces: _Spaces, truth: Int[np.ndarray, " n"], places: Int[np.ndarray, " s"], settings: FewShotSettings
) -> Float[np.ndarray, "m k"]:
    found = fit(spaces.train[places], truth[places], int(truth.max()) + 1, settings.c)
    return found.scores(spaces.test)


def _from_text(
    spaces: _Spaces, truth: Int[np.ndarray, " n"], places: Int[np.ndarray, " s"], settings: FewShotSettings
) -> Float[np.ndarray, "m k"]:
    assert spaces.text
    found = fit_around(spaces.text.train[places], truth[places], spaces.text.weights, settings.c)
    return found.scores(spaces.text.test)


def _least_squares(
    spaces: _Spaces, truth: Int[np.ndarray, " n"], places: Int[np.ndarray, " s"], settings: FewShotSettings
) -> Float[np.ndarray, "m k"]:
    return least_squares(spaces.train[places], truth[places], spaces.test, int(truth.max()) + 1)


_METHODS: dict[Method, Callable[..., Float[np.ndarray, "m k"]]] = {
    "probe": _probe,
    "from_text": _from_text,
    "least_squares": _least_squares,
}


def _over_repeats(right: Float[np.ndarray, "r m"]) -> Measure:
    """Mean accuracy; its interval is over draws, or over samples where there is one draw."""
    if len(right) < 2:
        return mean_of(right[0])
    low, high = repeats_interval(right.mean(1).tolist())
    return Measure(float(right.mean()), max(low, 0.0), min(high, 1.0))


def _worth(
    zero_shot: float, right: dict[Method, dict[int, Float[np.ndarray, "r m"]]], notes: list[str]
) -> dict[str, Measure]:
    """How many labels a class a probe needs to be as good as none."""
    if "probe" not in right:
        return {}
    curve = {k: float(each.mean()) for k, each in right["probe"].items()}
    found = shots_worth(zero_shot, list(curve), list(curve.values()))
    if found.side != "within":
        notes.append(
            f"zero-shot lies {found.side} the curve, which begins at {min(curve)} and ends at {max(curve)}"
        )
    return {"effective_shots": Measure(found.shots)}
