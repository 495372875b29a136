"""`limner evaluate captioning`: captions as BLIP writes them, by every metric that can be run here.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 5.2 and its released configs; Chen et al. 2015 (COCO
captions, arXiv 1504.00325), section 3.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from limner.capfilt.caption import caption_images
from limner.checkpoint import Bundle
from limner.config import Config
from limner.convert.opening import open_bundle
from limner.data.table import Table
from limner.data.tokenizers import WordPiece
from limner.errors import ConfigError
from limner.evaluate.caption_diversity import diversity, unseen
from limner.evaluate.caption_java import meteor, missing, spice
from limner.evaluate.caption_metrics import MAX_N, bleu, caption_scores
from limner.evaluate.clipscore import PREFIX, clip_scores, itm_scores
from limner.evaluate.metrics import bootstrap_interval
from limner.evaluate.pictures import Progress, blip_of
from limner.evaluate.ptb import ptb_tokens
from limner.evaluate.tables import Pictured, pictured
from limner.models.generate import Decoding
from limner.shapes import ImageSpec
from limner.suite.outcome import Measure, Outcome, mean_of
from limner.suite.selection import Selection


class CaptioningSettings(Config):
    """How captions are written and what they are compared with.

    Args:
        method: "beam", "greedy" or "nucleus".
        num_beams: of beam search.
        top_p: of nucleus sampling.
        repetition_penalty: None is that of BLIP's code, 1.1 with "nucleus", else 1.
        prompt: words that captions go on from; "" for a model trained without.
        min_length: tokens of a caption, the prompt among them.
        max_length: likewise.
        clip: a CLIP for CLIPScore; empty leaves it out.
        clip_prefix: put before every text for CLIPScore.
        jars: folder with METEOR and SPICE; empty is what LIMNER_CAPTION_JARS names.
        training_where: rows of the table whose texts count as known, such as "split = 'train'"; empty leaves
            novelty out.
        batch_size: pictures at a time.
        seed: of drawn words and of the intervals' resampling.
    """

    method: Literal["beam", "greedy", "nucleus"] = "beam"
    num_beams: int = Field(default=3, ge=1)
    top_p: float = Field(default=0.9, gt=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0)
    prompt: str = "a picture of "
    min_length: int = Field(default=5, ge=0)
    max_length: int = Field(default=20, ge=2)
    clip: str = ""
    clip_prefix: str = PREFIX
    jars: str = ""
    training_where: str = ""
    batch_size: int = Field(default=32, ge=1)
    seed: int = 0

    def decoding(self, tokenizer: WordPiece) -> Decoding:
        """The settings as the decoder takes them: lengths without the prompt.

        Raises: ConfigError when the prompt leaves no room.
        """
        taken = len(tokenizer.encode(self.prompt, 64)) - 1  # without [SEP]
        if taken >= self.max_length:
            raise ConfigError(
                f"a prompt of {taken} tokens", wanted=f"fewer than max_length {self.max_length}"
            )
        penalty = self.repetition_penalty or (1.1 if self.method == "nucleus" else 1.0)
        return Decoding(
            method=self.method,
            max_tokens=self.max_length - taken,
            min_tokens=max(0, self.min_length - taken),
            num_beams=self.num_beams,
            top_p=self.top_p,
            repetition_penalty=penalty,
        )


def measure(
    bundle: Bundle, selection: Selection, settings: CaptioningSettings, progress: Progress | None
) -> Outcome:
    """Caption the pictures of some rows and compare with all their texts."""
    _, tokenizer = blip_of(bundle)
    decoding = settings.decoding(tokenizer)
    rows = _rows(selection, bundle.image_spec)
    found = written(bundle, rows, settings, decoding, progress)
    scores = caption_scores(found, rows.texts)
    measures = {"cider_d": mean_of(scores.cider_d, settings.seed)}
    measures |= {f"bleu_{n + 1}": _bleu(scores.bleu_counts, n, settings.seed) for n in range(MAX_N)}
    measures["rouge_l"] = mean_of(scores.rouge_l, settings.seed)
    by_java, notes = _by_java(found, rows.texts, settings)
    measures |= by_java | _by_matching(bundle, rows, found, settings)
    if settings.clip:
        measures |= _by_clip(selection, rows, found, settings)
    measures |= {name: Measure(value) for name, value in diversity(found).items()}
    if settings.training_where:
        known = _training(selection, settings.training_where)
        measures["unseen"] = mean_of(unseen(found, known), settings.seed)
    samples = [
        {"key": key, "caption": text, "references": texts, "score": float(cider), "rouge_l": float(rouge)}
        for key, text, texts, cider, rouge in zip(
            rows.keys, found, rows.texts, scores.cider_d, scores.rouge_l, strict=True
        )
    ]
    return Outcome(measures, samples, {"pictures": len(found), "references": len(rows.pairs()[0])}, notes)


def written(
    bundle: Bundle,
    rows: Pictured,
    settings: CaptioningSettings,
    decoding: Decoding,
    progress: Progress | None,
) -> list[str]:
    """One caption a row; drawn words depend on the seed and the row's key alone."""
    found: list[str] = []
    for start in range(0, len(rows.keys), settings.batch_size):
        batch = slice(start, start + settings.batch_size)
        captions = caption_images(
            bundle, rows.images[batch], rows.keys[batch], decoding, seed=settings.seed, prompt=settings.prompt
        )
        found += [texts[0].text for texts in captions]
        if progress:
            progress(len(found), len(rows.keys))
    return found


def _bleu(counts: np.ndarray, n: int, seed: int) -> Measure:
    """BLEU of the whole set; its interval is over pictures."""
    low, high = bootstrap_interval(counts.astype(np.float64), seed, lambda rows: bleu(rows)[n])
    return Measure(bleu(counts)[n], low, high)


def _by_java(
    found: Sequence[str], references: Sequence[Sequence[str]], settings: CaptioningSettings
) -> tuple[dict[str, Measure], tuple[str, ...]]:
    """METEOR and SPICE on the same words, where they can be run; else what they lack."""
    words = [" ".join(ptb_tokens(text)) for text in found]
    true = [[" ".join(ptb_tokens(text)) for text in texts] for texts in references]
    measures: dict[str, Measure] = {}
    notes = ["CIDEr-D is in [0, 10], papers print it times 100; word rarity is that of these rows' texts"]
    lacks = {metric: missing(metric, settings.jars) for metric in ("meteor", "spice")}
    if not lacks["meteor"]:
        total, each = meteor(words, true, settings.jars)
        measures["meteor"] = Measure(total)
        measures["meteor_mean"] = mean_of(each, settings.seed)
        notes.append(
            "meteor is of the whole set as the program sums it; meteor_mean, of single captions, is not"
        )
    if not lacks["spice"]:
        each = spice(words, true, settings.jars)
        measures["spice"] = mean_of(each[~np.isnan(each)], settings.seed)
    notes += [f"{metric.upper()} left out: {why}" for metric, why in lacks.items() if why]
    return measures, tuple(notes)


def _by_matching(
    bundle: Bundle, rows: Pictured, found: Sequence[str], settings: CaptioningSettings
) -> dict[str, Measure]:
    """What the captioner's own matching head thinks of its captions, where it has one."""
    model, _ = blip_of(bundle)
    if not {"itc", "itm", "lm"} <= set(model.config.heads):
        return {}
    return {"itm": mean_of(itm_scores(bundle, rows.images, found, settings.batch_size), settings.seed)}


def _by_clip(
    selection: Selection, rows: Pictured, found: Sequence[str], settings: CaptioningSettings
) -> dict[str, Measure]:
    """CLIPScore by another model, which reads the same rows its own way."""
    judge = open_bundle(settings.clip)
    again = _rows(selection, judge.image_spec)
    scores = clip_scores(judge, again.images, found, rows.texts, settings.clip_prefix, settings.batch_size)
    return {
        "clip_score": mean_of(scores.clip, settings.seed),
        "ref_clip_score": mean_of(scores.ref_clip, settings.seed),
    }


def _rows(selection: Selection, spec: ImageSpec) -> Pictured:
    return pictured(
        selection.path,
        spec,
        where=selection.where,
        count=selection.count,
        version=selection.version,
        texts_column=selection.texts_column,
        needed=lambda texts, label: bool(texts),
    )


def _training(selection: Selection, where: str) -> list[str]:
    table = Table.open(selection.path, selection.version)
    column = table.column(selection.texts_column, where)
    return [text for texts in column for text in texts or ()]
