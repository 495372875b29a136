"""`limner evaluate vqa`: questions about pictures, by the official accuracy or DAQUAR's.

Source: Antol et al. 2015 (arXiv 1505.00468); Malinowski & Fritz 2014 (arXiv 1410.0210); Li et al. 2022
(BLIP), section 5.3.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.question_rows import QuestionRows
from limner.errors import DataError
from limner.evaluate.pictures import Progress
from limner.evaluate.vqa import answer_type, exact_accuracy, vqa_accuracy
from limner.evaluate.vqa_answers import Candidates, Reply, most_frequent, replies
from limner.evaluate.wordnet import WordNet
from limner.evaluate.wups import set_accuracy, wups
from limner.suite.outcome import Measure, Outcome, mean_of
from limner.suite.selection import Selection

_FULL = 10


class VQASettings(Config):
    """How questions are asked and scored.

    Args:
        way: "write" answers, or "rank" candidates.
        candidates: how many of the most frequent answers are ranked; the released models have 3,128.
        candidates_where: rows whose answers the candidates are; such as "split = 'train'". Empty is all rows
            of the table, those that are measured among them.
        k: candidates, by their first token, that are read to the end.
        score: "official" VQA accuracy over ten answers, "exact" equality with one of those given, or "sets"
            of words as DAQUAR's; "auto" is official where every question has ten answers, else exact.
        wordnet: the folder `dict` of a WordNet, for WUPS; empty leaves it out. With "sets".
        batch_size: questions at a time.
        seed: of the intervals' resampling.
    """

    way: Literal["write", "rank"] = "write"
    candidates: int = Field(default=3128, ge=1)
    candidates_where: str = ""
    k: int = Field(default=128, ge=1)
    score: Literal["auto", "official", "exact", "sets"] = "auto"
    wordnet: str = ""
    batch_size: int = Field(default=64, ge=1)
    seed: int = 0


Score = Callable[[str, Sequence[str]], float]


def measure(
    bundle: Bundle, selection: Selection, settings: VQASettings, progress: Progress | None
) -> Outcome:
    """Ask the questions of some rows, one sample each."""
    spec, where = bundle.image_spec, selection.where or None
    rows = QuestionRows(selection.path, spec, 0, version=selection.version, where=where, cache_bytes=2**26)
    wordnet = WordNet(settings.wordnet) if settings.wordnet else None
    candidates = _candidates(bundle, selection, settings)
    found = replies(bundle, rows, selection.count, candidates, settings.batch_size, progress)
    name, score = _score(settings, found)
    scores = [score(reply.said, reply.accepted) for reply in found]
    types = [answer_type(reply.accepted) for reply in found]
    measures = {name: mean_of(scores, settings.seed)}
    for kind in ("yes/no", "number", "other"):
        if own := [value for value, one in zip(scores, types, strict=True) if one == kind]:
            measures[f"{name}_{kind.replace('/', '_')}"] = mean_of(own, settings.seed)
    if wordnet is not None:
        measures |= _wups(found, wordnet, settings.seed)
    frequent = _most_frequent_answer(found)
    measures["most_frequent_answer"] = Measure(
        sum(score(frequent, reply.accepted) for reply in found) / len(found)
    )
    return Outcome(
        measures,
        [
            {
                "key": reply.key,
                "question": reply.question,
                "said": reply.said,
                "accepted": list(reply.accepted),
                "type": kind,
                "score": value,
            }
            for reply, kind, value in zip(found, types, scores, strict=True)
        ],
        {
            "questions": len(found),
            "types": {kind: types.count(kind) for kind in sorted(set(types))},
            "most_frequent_answer": frequent,
            "candidates": len(candidates.texts) if candidates else 0,
        },
        _notes(settings, found, name, frequent),
    )


def _candidates(bundle: Bundle, selection: Selection, settings: VQASettings) -> Candidates | None:
    if settings.way == "write":
        return None
    where = settings.candidates_where or None
    rows = QuestionRows(selection.path, bundle.image_spec, 0, version=selection.version, where=where)
    return Candidates(most_frequent(rows, settings.candidates), settings.k)


def _score(settings: VQASettings, found: Sequence[Reply]) -> tuple[str, Score]:
    fewest = min(len(reply.accepted) for reply in found)
    kind = settings.score
    if kind == "auto":
        kind = "official" if fewest >= _FULL else "exact"
    if settings.wordnet and kind != "sets":
        raise DataError(
            f"a WordNet for the score {kind!r}", wanted="DAQUAR's sets of words", hint="--set score=sets"
        )
    if kind == "official":
        return "vqa_accuracy", vqa_accuracy
    if kind == "sets":
        return "set_accuracy", lambda said, answers: max(set_accuracy(said, one) for one in answers)
    return "accuracy", exact_accuracy


def _wups(found: Sequence[Reply], wordnet: WordNet, seed: int) -> dict[str, Measure]:
    """WUPS at 0.9 and 0.0, of several answers the best."""
    measures = {}
    for threshold in (0.9, 0.0):
        values = [
            max(wups(reply.said, answer, wordnet.similarity, threshold) for answer in reply.accepted)
            for reply in found
        ]
        measures[f"wups_{threshold}"] = mean_of(values, seed)
    return measures


def _most_frequent_answer(found: Sequence[Reply]) -> str:
    """What to answer for the best blind guess on these rows."""
    counts: dict[str, int] = {}
    for reply in found:
        for answer in reply.accepted:
            counts[answer.strip().lower()] = counts.get(answer.strip().lower(), 0) + 1
    return max(sorted(counts), key=counts.__getitem__)


def _notes(settings: VQASettings, found: Sequence[Reply], name: str, frequent: str) -> tuple[str, ...]:
    notes = [f"most_frequent_answer is what always saying {frequent!r}, the commonest here, would score"]
    if settings.way == "rank" and not settings.candidates_where:
        notes.append("candidates are answers of the whole table, the measured rows among them")
    if name != "vqa_accuracy":
        notes.append("not the official VQA accuracy, which needs ten answers a question")
    elif len(found) < 1000:
        notes.append(f"{len(found)} questions; the papers report VQA v2 test-dev, 107,394 questions")
    return tuple(notes)
