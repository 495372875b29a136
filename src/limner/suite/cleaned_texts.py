"""Are synthetic texts as varied as web texts, and which decoding writes the better ones?

Distinct-n and its like fall as texts are added, so every set is cut to as many texts, drawn by chance, before
it is measured. BLIP's paper prefers nucleus sampling to beam search because "it generates more diverse and
surprising captions" (section 4.3), and measures neither.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from limner.capfilt.cut import exact_share
from limner.evaluate.caption_diversity import diversity, unseen
from limner.evaluate.metrics import bootstrap_interval
from limner.evaluate.ptb import ptb_tokens
from limner.suite.cleaned import Cleaned, Text

MOST_TEXTS: Final = 2000
"""Texts of a set that are measured."""
_SHOWN: Final = 10
_RESAMPLES: Final = 500


def varied(cleaned: Cleaned, seed: int = 0) -> dict[str, Any]:
    """Diversity and novelty of web and synthetic texts, before and after.

    Returns: `texts`, how many of each set were measured; `sets`: name → what `diversity` gives, `of`, how
        many there were, and `novelty`, the share that is no web text of the table (None for web texts);
        `new_words`, of synthetic texts, with how many texts hold each; `repeated`: side → commonest texts.
    """
    web, synthetic = cleaned.of("web"), cleaned.of("synthetic")
    sets = {
        "web": web,
        "web, kept": [text for text in web if text.kept],
        "synthetic": synthetic,
        "synthetic, kept": [text for text in synthetic if text.kept],
    }
    decodings = sorted({text.decoding for text in synthetic})
    if len(decodings) > 1:
        sets |= {name: [text for text in synthetic if text.decoding == name] for name in decodings}
    said = {name: [text.text for text in texts if text.text.strip()] for name, texts in sets.items()}
    said = {name: texts for name, texts in said.items() if texts}
    many = min([MOST_TEXTS, *map(len, said.values())])
    rng = np.random.default_rng(seed)
    known, written = [text.text for text in web], [text.text for text in synthetic]
    is_new = dict(zip(written, unseen(written, known).tolist(), strict=True))
    return {
        "texts": many,
        "sets": {
            name: _measured(texts, many, rng)
            | {"novelty": None if name.startswith("web") else float(np.mean([is_new[t] for t in texts]))}
            for name, texts in said.items()
        },
        "new_words": _new_words(known, written),
        "repeated": {
            side: _repeated([text.text for text in cleaned.of(side)]) for side in ("web", "synthetic")
        },
    }


def _measured(texts: Sequence[str], many: int, rng: np.random.Generator) -> dict[str, Any]:
    drawn = [texts[place] for place in np.sort(rng.choice(len(texts), many, replace=False))]
    return diversity(drawn) | {"of": len(texts)}


def _new_words(known: Sequence[str], found: Sequence[str]) -> list[list[Any]]:
    """Words of no web text, the commonest first: word, texts that hold it."""
    old = {word for text in known for word in ptb_tokens(text)}
    new = Counter(word for text in found for word in {*ptb_tokens(text)} - old)
    return [[word, count] for word, count in sorted(new.items(), key=lambda one: (-one[1], one[0]))[:_SHOWN]]


def _repeated(texts: Sequence[str]) -> list[list[Any]]:
    """Texts that stand on more than one picture, the commonest first: text, count."""
    counts = sorted(Counter(texts).items(), key=lambda one: (-one[1], one[0]))
    return [[text, count] for text, count in counts[:_SHOWN] if count > 1]


# ---------------------------------------------------------------- nucleus against beam


def decodings(cleaned: Cleaned) -> dict[str, Any] | None:
    """The decodings side by side; None when there was one.

    Returns: `each`: decoding → `texts`, `kept` (a share with its exact 95 % interval), `itm`, `itc`, `words`
        (means with bootstrap 95 % intervals) and `log_prob`, a mean; `pictures`, where all have a score;
        `better`: decoding → share of these pictures where its best text has the highest ITM score, and
        `alike`, the share where two or more share it.
    """
    synthetic = cleaned.of("synthetic")
    names = sorted({text.decoding for text in synthetic})
    if len(names) < 2:
        return None
    of_each = {name: [text for text in synthetic if text.decoding == name] for name in names}
    best = [_best_of_rows(texts) for texts in of_each.values()]
    rows = sorted(set(best[0]).intersection(*best[1:]))
    scores = np.array([[one[row] for one in best] for row in rows]).reshape(-1, len(names))
    top = scores == scores.max(1, keepdims=True) if len(rows) else scores.astype(bool)
    alone = top & (top.sum(1, keepdims=True) == 1)
    return {
        "each": {name: _decoding(texts) for name, texts in of_each.items()},
        "pictures": len(rows),
        "better": dict(zip(names, alone.mean(0).tolist(), strict=True)) if rows else {},
        "alike": float((top.sum(1) > 1).mean()) if rows else None,
    }


def _decoding(texts: Sequence[Text]) -> dict[str, Any]:
    probable = [text.log_prob for text in texts if text.log_prob is not None]
    return {
        "texts": len(texts),
        "kept": _interval(*exact_share(sum(text.kept for text in texts), len(texts), 0.95)),
        "itm": _mean([text.itm for text in texts]),
        "itc": _mean([text.itc for text in texts]),
        "words": _mean([float(len(ptb_tokens(text.text))) for text in texts]),
        "log_prob": float(np.mean(probable)) if probable else None,
    }


def _best_of_rows(texts: Sequence[Text]) -> dict[int, float]:
    best: dict[int, float] = {}
    for text in texts:
        if text.itm is not None:
            best[text.row] = max(best.get(text.row, 0.0), text.itm)
    return best


def _mean(values: Sequence[float | None]) -> dict[str, float] | None:
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return None
    return _interval(float(known.mean()), *bootstrap_interval(known, 0, resamples=_RESAMPLES))


def _interval(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}
