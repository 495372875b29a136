"""BERT's WordPiece, with BERT's vocabulary or one grown from one's own captions, and BLIP's text cleaning.

Two ways to clean are in use, and the same checkpoint meets both. `pre_caption` is what BLIP was trained on:
`.!"()*#:;~` become spaces, then BERT's own lower-casing. `bert` is what transformers' processors do: BERT's
alone, so "a dog." keeps its full stop as a word; a text that spells [SEP] gets that token.

Source: Devlin et al. 2019 (WordPiece, greedy longest match); Wu et al. 2016 §4.1 (growing the vocabulary by
    merges); BLIP's `pre_caption` and `pre_question`. The `tokenizers` library does the matching, at any
    speed one needs. The vocabulary is grown here, because the library's trainer breaks ties by the order of
    a hash map and gives another vocabulary each time; here a tie goes to the pair that sorts first, so the
    same texts give the same bytes. The cleaning is the tokenizer's own normaliser: it travels with the
    weights and nobody can forget it.
"""

import heapq
import json
import re
import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import torch
from jaxtyping import Bool, Int64
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordPiece as WordPieceModel
from tokenizers.normalizers import BertNormalizer, Replace
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from torch import Tensor

from limner.data.bert_vocabulary import BERT_TOKENS, BERT_UNCASED, bert_ids
from limner.errors import DataError

SPECIAL_TOKENS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")
_STRIPPED: Final = '[.!"()*#:;~]'
Cleaning = Literal["pre_caption", "bert"]
_Pair = tuple[str, str]
_LETTERS: Final = string.ascii_lowercase + string.digits
_ALWAYS_KNOWN: Final = ("?", ",", "'", "-", *_LETTERS, *("##" + letter for letter in _LETTERS))


def clean_caption(text: str, max_words: int = 30) -> str:
    """Lower-case, `.!"()*#:;~` to spaces, spaces squeezed, first words only. Source: BLIP pre_caption."""
    return " ".join(re.sub(_STRIPPED, " ", text.lower()).split()[:max_words])


def clean_question(text: str, max_words: int = 50) -> str:
    """Lower-case, without `.!"()*#:;~`, first words only, ending with "?". Source: BLIP pre_question."""
    words = " ".join(re.sub(_STRIPPED, "", text.lower()).split()[:max_words])
    return words.rstrip(" ?") + "?"


class WordPiece:
    """A tokenizer with BLIP's seven special tokens.

    Args:
        tokenizer: from the `tokenizers` library; use `from_texts`, `from_vocabulary` or `from_json`.
    Raises: DataError when a special token is missing.
    """

    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    dec_id: int
    enc_id: int

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        for token in SPECIAL_TOKENS:
            token_id = tokenizer.token_to_id(token)
            if token_id is None:
                raise DataError(f"the tokenizer has no {token}", wanted=" ".join(SPECIAL_TOKENS))
            setattr(self, f"{token[1:-1].lower()}_id", token_id)
        self._special_ids = frozenset(tokenizer.token_to_id(token) for token in SPECIAL_TOKENS)
        self.vocab_size: int = tokenizer.get_vocab_size()

    @classmethod
    def from_texts(cls, texts: Iterable[str], vocab_size: int = 4096, min_count: int = 1) -> "WordPiece":
        """Grow a vocabulary; the same texts give the same vocabulary, in whatever order they come.

        Args:
            texts: captions, questions and answers, as people wrote them.
            vocab_size: most tokens to hold, the seven special ones included.
            min_count: a character or pair seen less often is not learnt.
        Raises: DataError when `vocab_size` cannot even hold the characters of the texts.
        """
        words = _count_words(texts)
        pieces = [*SPECIAL_TOKENS, *_grow(words, vocab_size - len(SPECIAL_TOKENS), min_count)]
        return cls(_build({piece: index for index, piece in enumerate(pieces)}))

    @classmethod
    def from_vocabulary(
        cls, source: str | Path | Iterable[str] = BERT_UNCASED, cleaning: Cleaning = "pre_caption"
    ) -> "WordPiece":
        """Take BERT's vocabulary, with [DEC] and [ENC] after its last word unless it has them.

        Args:
            source: a vocab.txt or its lines; bert-base-uncased's, which BLIP uses, when not given.
            cleaning: "pre_caption" as BLIP's own code, "bert" as transformers; neither counts words, a long
                text is cut by tokens.
        Raises: DataError when it is no vocabulary of an uncased BERT.
        """
        tokenizer = _build(bert_ids(source), cleaning)
        if cleaning == "bert":
            tokenizer.add_special_tokens(list(BERT_TOKENS))
        return cls(tokenizer)

    @classmethod
    def from_folder(cls, folder: str | Path, cleaning: Cleaning = "bert") -> "WordPiece":
        """Read tokenizer.json or vocab.txt in a folder that transformers wrote; see `from_vocabulary`.

        Raises: DataError when neither is there, or it is another kind of tokenizer.
        """
        if not Path(folder).is_dir():
            raise DataError(f"no folder {folder}", wanted="one with vocab.txt or tokenizer.json")
        return cls.from_vocabulary(Path(folder), cleaning)

    @classmethod
    def from_json(cls, text: str) -> "WordPiece":
        """Read what `to_json` wrote (a `tokenizer.json` of the `tokenizers` library).

        Raises: DataError when it is none.
        """
        try:
            return cls(Tokenizer.from_str(text))
        except DataError:
            raise
        except Exception as error:  # the library raises bare Exception
            raise DataError(
                f"not a tokenizer: {error}", wanted="a tokenizer.json written by limner"
            ) from error

    def to_json(self) -> str:
        """The tokenizer as canonical JSON: equal vocabularies give equal text."""
        return json.dumps(json.loads(self._tokenizer.to_str()), ensure_ascii=False, indent=1) + "\n"

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_json, (self.to_json(),)

    @property
    def tokens(self) -> list[str]:
        """Every token, by id."""
        vocabulary = self._tokenizer.get_vocab()
        return sorted(vocabulary, key=vocabulary.__getitem__)

    def encode(self, text: str, max_tokens: int = 32) -> list[int]:
        """Ids of one text as [CLS] … [SEP], at most `max_tokens`; a cut text still ends with [SEP]."""
        return self._ids([text], max_tokens)[0]

    def encode_batch(
        self, texts: Sequence[str], max_tokens: int = 32
    ) -> tuple[Int64[Tensor, "b t"], Bool[Tensor, "b t"]]:
        """Ids of many texts, padded on the right to the longest of them.

        Args:
            texts: as people wrote them.
            max_tokens: longest row, [CLS] and [SEP] included.
        Returns: ids, and a mask that is True on real tokens.
        """
        return self.pad(self._ids(texts, max_tokens))

    def encode_question(self, question: str, max_tokens: int = 32) -> list[int]:
        """Ids of a question as a prompt for the decoder: [CLS] … "?" without [SEP]."""
        return self.encode_questions([question], [""], max_tokens)[0][0]

    def encode_questions(
        self, questions: Sequence[str], answers: Sequence[str], max_tokens: int = 32
    ) -> list[tuple[list[int], list[int]]]:
        """Split each question and answer into a prompt [CLS] … "?" and a reply … [SEP].

        A long question gives way to its answer; a long answer is cut to half of `max_tokens`. A row whose
        question is empty gets two empty lists.
        """
        texts = [question.rstrip(" ?") for question in questions] + list(answers)
        words = [e.ids for e in self._tokenizer.encode_batch(texts, add_special_tokens=False)]
        mark = self._tokenizer.token_to_id("?") or self.unk_id
        rows = []
        for question, prompt, answer in zip(questions, words, words[len(questions) :], strict=False):
            reply = answer[: max_tokens // 2 - 1]
            room = max_tokens - len(reply) - 3
            row = ([self.cls_id, *prompt[:room], mark], [*reply, self.sep_id])
            rows.append(row if question else ([], []))
        return rows

    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[Int64[Tensor, "b t"], Bool[Tensor, "b t"]]:
        """Stack rows of ids, padded on the right to the longest; the mask is True on real tokens."""
        longest = max(map(len, rows), default=0)
        padded = [[*row, *[self.pad_id] * (longest - len(row))] for row in rows]
        ids = torch.tensor(padded, dtype=torch.int64).reshape(len(rows), longest)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        return ids, torch.arange(longest) < lengths[:, None]

    def decode(self, ids: Iterable[int] | Int64[Tensor, " t"]) -> str:
        """Text of the ids without special tokens, spaced as English is written: "what's left?", "t-shirt"."""
        plain = ids.tolist() if isinstance(ids, Tensor) else ids
        tokens = (self._tokenizer.id_to_token(i) for i in plain if i not in self._special_ids)
        text = " ".join(token for token in tokens if token is not None).replace(" ##", "")
        text = re.sub(r" ([?,%])", r"\1", text)
        return re.sub(r"(?<=\w) (['’-]) (?=\w)", r"\1", text)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The token of each id as the vocabulary has it, special ones among them."""
        return [self._tokenizer.id_to_token(i) or "" for i in ids]

    def _ids(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        rows = [e.ids for e in self._tokenizer.encode_batch(list(texts))]
        return [ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], self.sep_id] for ids in rows]


def _from_json(text: str) -> WordPiece:
    return WordPiece.from_json(text)


def _normalizer() -> NormalizerSequence:
    return NormalizerSequence([Replace(Regex(_STRIPPED), " "), BertNormalizer(lowercase=True)])


def _build(vocabulary: dict[str, int], cleaning: Cleaning = "pre_caption") -> Tokenizer:
    model = WordPieceModel(vocab=vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = _normalizer() if cleaning == "pre_caption" else BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    return tokenizer


def _count_words(texts: Iterable[str]) -> Counter[str]:
    """Count the words as the tokenizer will see them."""
    clean, split = _normalizer(), BertPreTokenizer()
    return Counter(
        word for text in texts for word, _ in split.pre_tokenize_str(clean.normalize_str(text)) if word
    )


def _grow(words: Counter[str], room: int, min_count: int) -> list[str]:
    """The pieces a vocabulary of `room` holds: characters first, then merges as they are made.

    Each merge joins the most frequent pair of neighbours (Wu et al. 2016 §4.1), a tie by spelling.
    """
    seen = Counter(_ALWAYS_KNOWN)
    for word, count in words.items():
        for piece in _characters(word):
            seen[piece] += count
    alphabet = sorted(piece for piece in seen if seen[piece] >= min_count or piece in _ALWAYS_KNOWN)
    if len(alphabet) > room:
        raise DataError(
            f"a vocabulary of {room} cannot hold {len(alphabet)} characters", wanted="a larger vocab_size"
        )
    found = dict.fromkeys(alphabet)
    spellings = _Spellings(words)
    while len(found) < room:
        pair, count = spellings.most_frequent_pair()
        if pair is None or count < min_count:
            break
        found[spellings.merge(pair)] = None
    return list(found)


class _Spellings:
    """How each word is spelt in pieces, and how often each pair of neighbours stands in all of them."""

    def __init__(self, words: Counter[str]) -> None:
        self._words = words
        self._spelling = {word: _characters(word) for word in words}
        self._count: Counter[_Pair] = Counter()
        self._holders: defaultdict[_Pair, set[str]] = defaultdict(set)
        for word in words:
            self._add(word)
        self._heap = [(-count, pair) for pair, count in self._count.items()]
        heapq.heapify(self._heap)

    def most_frequent_pair(self) -> tuple[_Pair | None, int]:
        """The heap holds stale counts until they surface; a changed pair is pushed again with its own."""
        while self._heap:
            count, pair = heapq.heappop(self._heap)
            if -count == self._count[pair] > 0:
                return pair, -count
        return None, 0

    def merge(self, pair: _Pair) -> str:
        """Join the pair wherever it stands; the piece it makes."""
        merged = pair[0] + pair[1].removeprefix("##")
        changed: set[_Pair] = set()
        for word in self._holders.pop(pair):
            pieces = self._spelling[word]
            for neighbours in pairwise(pieces):
                self._count[neighbours] -= self._words[word]
                changed.add(neighbours)
            self._spelling[word] = _joined(pieces, pair, merged)
            changed |= self._add(word)
        for neighbours in changed:
            heapq.heappush(self._heap, (-self._count[neighbours], neighbours))
        return merged

    def _add(self, word: str) -> set[_Pair]:
        neighbours = set(pairwise(self._spelling[word]))
        for pair in pairwise(self._spelling[word]):
            self._count[pair] += self._words[word]
        for pair in neighbours:
            self._holders[pair].add(word)
        return neighbours


def _characters(word: str) -> list[str]:
    return [word[0], *("##" + character for character in word[1:])]


def _joined(pieces: list[str], pair: _Pair, merged: str) -> list[str]:
    result: list[str] = []
    for piece in pieces:
        if result and (result[-1], piece) == pair:
            result[-1] = merged
        else:
            result.append(piece)
    return result
