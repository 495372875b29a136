"""Zero-shot classification on arrays: the classifier that texts make, superclasses, "none of these".

Implements: texts normalised, averaged over templates, normalised again; probabilities pooled over a
superclass; a threshold on the likeliest class's probability below which a picture is none of the classes.
Checked against: clip-benchmark's loop over classes, and loops written from the definitions.

Source: Radford et al. 2021 (CLIP, arXiv 2103.00020), sections 3.1.2 and 3.1.4; Ming et al. 2022 (MCM, arXiv
2211.13445), for the probability as a score of being known.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from limner.errors import DataError
from limner.evaluate.class_scores import softmax

Encode = Callable[[list[str]], Float[np.ndarray, "n e"]]


def class_weights(encode: Encode, names: Sequence[str], templates: Sequence[str]) -> Float[np.ndarray, "k e"]:
    """One unit vector a class. All texts are encoded at once, each different one only once.

    Args:
        encode: texts → vectors.
        names: of the classes.
        templates: with "{}" where a name goes.
    """
    texts = [template.replace("{}", name) for name in names for template in templates]
    different = list(dict.fromkeys(texts))
    place = {text: number for number, text in enumerate(different)}
    vectors = unit(encode(different))[[place[text] for text in texts]]
    return unit(vectors.reshape(len(names), len(templates), -1).mean(1))


def unit(vectors: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n e"]:
    """Vectors of length one; a zero stays as it is."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: np.ndarray = vectors / np.maximum(lengths, 1e-12)
    return scaled


def probabilities(
    images: Float[np.ndarray, "n e"], weights: Float[np.ndarray, "k e"], scale: float
) -> Float[np.ndarray, "n k"]:
    """Class probabilities: softmax of the scaled cosines."""
    return softmax(scale * (images @ weights.T))


def pooled(
    probabilities: Float[np.ndarray, "n k"], groups: Int[np.ndarray, " k"]
) -> Float[np.ndarray, "n g"]:
    """Probability of each superclass: the sum over its classes.

    Args:
        probabilities: of the classes.
        groups: superclass of each class, 0 to g - 1.
    """
    member = np.eye(int(groups.max()) + 1, dtype=probabilities.dtype)[groups]
    together: np.ndarray = probabilities @ member
    return together


def best_threshold(confidence: Float[np.ndarray, " n"], known: Bool[np.ndarray, " n"]) -> float:
    """The confidence from which on a picture counts as known, with the best balanced accuracy.

    Of several that are equally good the lowest; halfway between two confidences.

    Args:
        confidence: of the likeliest class.
        known: whether the picture's class is one of the classes; both kinds must occur.
    Raises: DataError when all are known or none is.
    """
    if known.all() or not known.any():
        raise DataError(
            f"{int(known.sum())} of {len(known)} pictures to calibrate on are of known classes",
            wanted="both known and unknown ones",
        )
    values = np.unique(confidence)
    cuts = np.concatenate([[-np.inf], (values[1:] + values[:-1]) / 2, [np.inf]])
    kept = np.searchsorted(np.sort(confidence[known]), cuts, side="left")
    dropped = np.searchsorted(np.sort(confidence[~known]), cuts, side="left")
    balanced = (1 - kept / known.sum()) + dropped / (~known).sum()
    return float(cuts[int(np.argmax(balanced))])
