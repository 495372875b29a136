"""The official accuracy of answers to questions about pictures, and its way to tell two answers the same.

Implements: VQA's accuracy over ten answers, its normalisation of answers, and the three types it reports.
Differs: nothing in the numbers, the quirks of the released code included: answers are normalised only where
    people disagree, and at most 32 full stops are taken out of an answer.
Checked against: golden outputs of the authors' released evaluation; a loop from the definition.

Source: Antol et al. 2015 (VQA, arXiv 1505.00468), section 3; Goyal et al. 2017 (arXiv 1612.00837).
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from jaxtyping import Float

from limner.errors import DataError

AnswerType = Literal["yes/no", "number", "other"]

_OFFICIAL: Final = 10
_PUNCTUATION: Final = ';/[]"{}()=+\\_-><@`,?!'
_FULL_STOP: Final = re.compile(r"\.(?!\d)")
_MOST_STOPS: Final = 32
_THOUSANDS: Final = re.compile(r"\d,\d")
_ARTICLES: Final = frozenset(("a", "an", "the"))
_COUNTED: Final = "zero one two three four five six seven eight nine ten"
_NUMBERS: Final = {"none": "0", **{word: str(number) for number, word in enumerate(_COUNTED.split())}}
_CONTRACTED: Final = """
'ow's'at 'twas ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've
must've mustn't needn't not've o'clock oughtn't shan't she'd've should've shouldn't shouldn't've
somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've
something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've wasn't
we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll
who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've
you'll you're you've
"""


def _without_one(word: str) -> list[str]:
    """The spellings that lack one of the apostrophes."""
    return [word[:i] + word[i + 1 :] for i, letter in enumerate(word) if letter == "'"]


_CONTRACTIONS: Final = {
    **{wrong: word for word in _CONTRACTED.split() for wrong in _without_one(word)},
    "somebody'd": "somebodyd",  # the official table has it the wrong way round
}


def normalised(answer: str) -> str:
    """An answer as the official accuracy compares it: punctuation, case, numbers, articles, contractions."""
    words = [_NUMBERS.get(word, word) for word in _unpunctuated(answer).lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _unpunctuated(answer: str) -> str:
    """A mark beside a space goes, and so do all marks of an answer with a number like 1,000; others part
    words.
    """
    everywhere, text = _THOUSANDS.search(answer) is not None, answer
    for mark in _PUNCTUATION:
        gone = everywhere or mark + " " in answer or " " + mark in answer
        text = text.replace(mark, "" if gone else " ")
    return _FULL_STOP.sub("", text, count=_MOST_STOPS)


def vqa_accuracy(said: str, answers: Sequence[str]) -> float:
    """How right an answer is, [0, 1]: right in full when three of nine people gave it, over all nines of ten.

    Args:
        said: the answer.
        answers: what people said, ten in the official data.
    Raises: DataError for fewer than four, of whom no three are left to agree with.
    """
    if len(answers) < 4:
        raise DataError(
            f"{len(answers)} answer(s) to a question",
            wanted="ten, or four at least, for the official VQA accuracy",
            hint="exact accuracy asks for one",
        )
    said, given = _spaced(said), [_spaced(answer) for answer in answers]
    if len(set(given)) > 1:
        said, given = normalised(said), [normalised(answer) for answer in given]
    matches = given.count(said)
    left_out = [min(1.0, (matches - (answer == said)) / 3) for answer in given]
    return sum(left_out) / len(left_out)


def _spaced(answer: str) -> str:
    return answer.replace("\n", " ").replace("\t", " ").strip()


def exact_accuracy(said: str, answers: Sequence[str]) -> float:
    """1 where an answer equals one of those given, both normalised, else 0."""
    return float(normalised(said) in {normalised(answer) for answer in answers})


def answer_type(answers: Sequence[str]) -> AnswerType:
    """What most people answered: yes or no, a number, or something else.

    Args:
        answers: what people said; of equally many, the first.
    """
    most = Counter(normalised(answer) for answer in answers).most_common(1)[0][0]
    if most in ("yes", "no"):
        return "yes/no"
    return "number" if most.replace(".", "", 1).isdigit() else "other"


def answers_quality(said: Sequence[str], answers: Sequence[Sequence[str]]) -> dict[str, float]:
    """How right answers are, over all and by the type of what people answered.

    Args:
        said: one answer a question.
        answers: what people said of each.
    Returns: `vqa_accuracy` where every question has ten answers, else `accuracy` (exact); and the same of
        each type that occurs, such as `accuracy_number`.
    """
    official = min(map(len, answers)) >= _OFFICIAL
    name, score = ("vqa_accuracy", vqa_accuracy) if official else ("accuracy", exact_accuracy)
    scores = [score(one, given) for one, given in zip(said, answers, strict=True)]
    return {name: sum(scores) / len(scores)} | {
        f"{name}_{kind.replace('/', '_')}": value for kind, value in by_type(scores, answers).items()
    }


def by_type(
    scores: Sequence[float] | Float[np.ndarray, " n"], answers: Sequence[Sequence[str]]
) -> dict[str, float]:
    """The mean score of each type of answer that occurs.

    Args:
        scores: one a question.
        answers: given to each question.
    """
    types = np.array([answer_type(given) for given in answers])
    values = np.asarray(scores, dtype=np.float64)
    return {
        kind: float(values[types == kind].mean())
        for kind in ("yes/no", "number", "other")
        if (types == kind).any()
    }
