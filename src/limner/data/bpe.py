"""Byte-level byte-pair encoding as CLIP reads it, with the three ways to clean a text that are in use.

Source: Sennrich et al. 2016 (arXiv 1508.07909), byte-level as in GPT-2 (Radford et al. 2019); the vocabulary,
    the splitting and the cleaning are those of CLIP's published code. The `tokenizers` library does the
    merging. Lower-casing, spaces and repairs are part of the tokenizer, so they travel with the weights.

`openai`     ftfy, HTML entities twice, spaces collapsed, lower case; texts are padded with id 0.
`open_clip`  the same; the two special tokens are spelt `<start_of_text>` and `<end_of_text>`, which only
             shows when a text contains them.
`hf`         what transformers does: NFC, spaces collapsed, lower case, nothing is repaired; padded with the
             end token. A quote that ftfy straightens, or an `&amp;`, gets other ids than CLIP was trained on.

Checked against: open_clip's SimpleTokenizer, transformers' CLIPTokenizer.
"""

import html
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import ftfy
import torch
from jaxtyping import Bool, Int64
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from torch import Tensor

from limner.data.bpe_vocabulary import (
    CLIP_MERGES,
    CONTEXT,
    Vocabulary,
    vocabulary_from_folder,
    vocabulary_from_merges,
)
from limner.errors import DataError

ClipDialect = Literal["openai", "open_clip", "hf"]
_SPECIAL: Final = {
    "openai": ("<|startoftext|>", "<|endoftext|>"),
    "open_clip": ("<start_of_text>", "<end_of_text>"),
    "hf": ("<|startoftext|>", "<|endoftext|>"),
}
_TRUNCATION: Final[dict[str, Any]] = {
    "direction": "Right",
    "max_length": 0,
    "strategy": "LongestFirst",
    "stride": 0,
}
_PADDING: Final[dict[str, Any]] = {
    "strategy": {},
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "",
}
_SUFFIXES: Final = "'s|'t|'re|'ve|'m|'ll|'d"
_RUNS: Final = r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_LOST: Final = r"\x{345}"


def clean_clip(text: str) -> str:
    """Repair, unescape twice, collapse spaces, lower-case. Source: CLIP's basic_clean, whitespace_clean."""
    if not (text.isascii() and text.isprintable() and "&" not in text):  # of the others nothing is repaired
        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


class CLIPTokenizer:
    """CLIP's tokenizer; use `from_merges`, `from_folder` or `from_json`.

    Args:
        tokenizer: from the `tokenizers` library, byte-level, without special tokens of its own making.
        dialect: how texts are cleaned.
        context_length: most tokens of a text, the first and the last one included.
        pad_id: fills short texts; 0, or the end token in `hf`, when None.
    Raises: DataError when it lacks the first or the last token.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        dialect: ClipDialect = "openai",
        context_length: int = CONTEXT,
        pad_id: int | None = None,
    ) -> None:
        self._tokenizer, self.dialect, self.context_length = tokenizer, dialect, context_length
        first, last = (tokenizer.token_to_id(token) for token in _SPECIAL[dialect])
        if first is None or last is None:
            raise DataError("the vocabulary lacks a special token", wanted=" and ".join(_SPECIAL[dialect]))
        self.sot_id: int = first
        self.eot_id: int = last
        self.pad_id: int = pad_id if pad_id is not None else (last if dialect == "hf" else 0)
        self.vocab_size: int = tokenizer.get_vocab_size()

    @classmethod
    def from_merges(
        cls,
        source: str | Path = CLIP_MERGES,
        dialect: ClipDialect = "openai",
        *,
        context_length: int = CONTEXT,
        vocab_size: int = 49_408,
    ) -> "CLIPTokenizer":
        """Build the vocabulary from merges: 256 bytes, the same at a word's end, the merges, two tokens.

        Args:
            source: a file of merges, plain or gzipped, or its text; the first line is a heading. OpenAI's
                bpe_simple_vocab_16e6.txt.gz has more merges than CLIP uses.
            dialect: how texts are cleaned.
            context_length: most tokens of a text.
            vocab_size: merges past it are left out.
        Raises: DataError when the file cannot be read, or a line is no merge.
        """
        vocabulary = vocabulary_from_merges(source, _SPECIAL[dialect], vocab_size, context_length)
        return cls(_build(vocabulary, dialect), dialect, context_length)

    @classmethod
    def from_folder(
        cls, folder: str | Path, dialect: ClipDialect = "hf", context_length: int | None = None
    ) -> "CLIPTokenizer":
        """Read a tokenizer as transformers writes it: tokenizer.json, or vocab.json and merges.txt.

        Args:
            folder: where they lie; tokenizer_config.json tells the padding and the length when it is there.
            dialect: "hf" cleans as transformers does; "openai" takes the vocabulary and cleans as CLIP did.
            context_length: most tokens of a text; the folder's own, or 77, when None.
        Raises: DataError when the files are missing or hold another kind of tokenizer.
        """
        vocabulary = vocabulary_from_folder(folder)
        vocabulary = vocabulary._replace(ids=_respelt(vocabulary.ids, dialect))
        pad_id = vocabulary.pad_id if dialect == "hf" else None
        length = context_length or vocabulary.context_length
        return cls(_build(vocabulary, dialect), dialect, length, pad_id)

    @classmethod
    def from_json(cls, text: str) -> "CLIPTokenizer":
        """Read what `to_json` wrote.

        Raises: DataError when it is none.
        """
        try:
            tokenizer = Tokenizer.from_str(text)
            facts = json.loads(text)
            length, pad_id = facts["truncation"]["max_length"], facts["padding"]["pad_id"]
        except Exception as error:  # the library raises bare Exception
            raise DataError(
                f"not a CLIP tokenizer: {error}",
                wanted="a tokenizer.json written by limner",
                hint="from_folder reads those of transformers",
            ) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(tokenizer, _dialect_of(tokenizer), length, pad_id)

    def to_json(self) -> str:
        """The tokenizer as canonical JSON, a tokenizer.json of the `tokenizers` library.

        Equal tokenizers give equal text. Read by another library, `openai` and `open_clip` lack their
        cleaning, which that library cannot express.
        """
        facts = json.loads(self._tokenizer.to_str())
        length, pad_token = self.context_length, self._tokenizer.id_to_token(self.pad_id)
        facts["truncation"] = _TRUNCATION | {"max_length": length}
        facts["padding"] = _PADDING | {
            "strategy": {"Fixed": length},
            "pad_id": self.pad_id,
            "pad_token": pad_token,
        }
        return json.dumps(facts, ensure_ascii=False, separators=(",", ":")) + "\n"

    def __reduce__(self) -> tuple[Any, ...]:
        return CLIPTokenizer.from_json, (self.to_json(),)

    @property
    def tokens(self) -> list[str]:
        """Every token, by id."""
        vocabulary = self._tokenizer.get_vocab()
        return sorted(vocabulary, key=vocabulary.__getitem__)

    def encode(self, text: str, max_tokens: int | None = None, *, truncate: bool = True) -> list[int]:
        """Ids of one text from the first token to the last; see `encode_batch`."""
        return self._ids([text], max_tokens or self.context_length, truncate)[0]

    def encode_batch(
        self,
        texts: Sequence[str],
        max_tokens: int | None = None,
        *,
        pad_to: Literal["longest", "context"] = "longest",
        truncate: bool = True,
    ) -> tuple[Int64[Tensor, "b t"], Bool[Tensor, "b t"]]:
        """Ids of many texts, padded on the right.

        Args:
            texts: as people wrote them.
            max_tokens: longest row, first and last token included, ≥ 2; `context_length` when None.
            pad_to: "longest" of the texts, which gives a causal tower less to read and the same result, or
                "context" for rows of `max_tokens`.
            truncate: cut a long text, so that its last token stands in the last place.
        Returns: ids, and a mask that is True on real tokens.
        Raises: DataError when a text is too long and may not be cut.
        """
        longest = max_tokens or self.context_length
        rows = self._ids(texts, longest, truncate)
        side = longest if pad_to == "context" else max(map(len, rows), default=0)
        padded = [[*row, *[self.pad_id] * (side - len(row))] for row in rows]
        ids = torch.tensor(padded, dtype=torch.int64).reshape(len(rows), side)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        return ids, torch.arange(side) < lengths[:, None]

    def decode(self, ids: Iterable[int] | Int64[Tensor, " t"]) -> str:
        """Text of the ids up to the last token of a text, spaced as the pieces were cut."""
        plain = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if self.eot_id in plain:
            plain = plain[: plain.index(self.eot_id)]
        text: str = self._tokenizer.decode([i for i in plain if i != self.sot_id], skip_special_tokens=False)
        return text.replace("</w>", " ").strip()

    def _ids(self, texts: Sequence[str], max_tokens: int, truncate: bool) -> list[list[int]]:
        if max_tokens < 2:
            raise DataError(f"{max_tokens} tokens a text", wanted="room for the first and the last one")
        rows = self._words(texts)
        for text, row in zip(texts, rows, strict=True):
            if not truncate and len(row) + 2 > max_tokens:
                raise DataError(
                    f"a text of {len(row) + 2} tokens: {text[:40]!r}…",
                    wanted=f"at most {max_tokens}, the first and the last one included",
                    hint="shorten it, or let it be cut: truncate=True",
                )
        return [[self.sot_id, *row[: max_tokens - 2], self.eot_id] for row in rows]

    def _words(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of the texts alone."""
        if self.dialect == "hf":
            return [e.ids for e in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        clean = [clean_clip(text) for text in texts]
        rows = [e.ids for e in self._tokenizer.encode_batch(clean, add_special_tokens=False)]
        for place, text in enumerate(clean):
            if any(token in text for token in _SPECIAL[self.dialect]):
                rows[place] = self._with_special(text)
        return rows

    def _with_special(self, text: str) -> list[int]:
        """Ids of a text that spells a special token: CLIP's code takes it for the token itself."""
        special = dict(zip(_SPECIAL[self.dialect], (self.sot_id, self.eot_id), strict=True))
        ids: list[int] = []
        for piece, _ in _splitter(self.dialect).pre_tokenize_str(text):
            ids += [special[piece]] if piece in special else self._tokenizer.encode(piece).ids
        return ids


def _respelt(ids: dict[str, int], dialect: ClipDialect) -> dict[str, int]:
    """Ids with the two special tokens spelt as the dialect spells them."""
    wanted = _SPECIAL[dialect]
    for known in _SPECIAL.values():
        if set(known) <= ids.keys() and not set(wanted) <= ids.keys():
            names = dict(zip(known, wanted, strict=True))
            return {names.get(token, token): place for token, place in ids.items()}
    return ids


def _dialect_of(tokenizer: Tokenizer) -> ClipDialect:
    """The dialect shows: transformers' normaliser, or how the special tokens are spelt."""
    if tokenizer.normalizer is not None:
        return "hf"
    return "openai" if tokenizer.token_to_id(_SPECIAL["openai"][1]) is not None else "open_clip"


def _splitter(dialect: ClipDialect) -> pre_tokenizers.Split:
    """Words, single digits, runs of signs. CLIP's own ignores case, and so loses U+0345, a sign whose capital
    is a letter.
    """
    special = "|".join(re.escape(token) for token in _SPECIAL[dialect])
    if dialect == "hf":
        pattern = f"{special}|{_SUFFIXES}|{_RUNS}"
    else:
        pattern = f"(?i:{special}|{_SUFFIXES})|{_RUNS.replace('[^', '[^' + _LOST)}"
    return pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)


def _build(vocabulary: Vocabulary, dialect: ClipDialect) -> Tokenizer:
    """The library's tokenizer; in `hf` with all that transformers gives it."""
    first, last = _SPECIAL[dialect]
    if missing := [token for token in (first, last) if token not in vocabulary.ids]:
        raise DataError(f"the vocabulary lacks {missing[0]}", wanted=f"{first} and {last}")
    unknown = {"unk_token": last} if dialect == "hf" else {}
    try:
        model = BPE(vocabulary.ids, vocabulary.merges, end_of_word_suffix="</w>", **unknown)
    except Exception as error:  # the library raises bare Exception
        raise DataError(
            f"vocabulary and merges do not fit: {error}", wanted="both of one tokenizer"
        ) from error
    tokenizer = Tokenizer(model)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=dialect == "hf")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([_splitter(dialect), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    if dialect == "hf":
        spaces = normalizers.Replace(Regex(r"\s+"), " ")
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
        ends = ((last, vocabulary.ids[last]), (first, vocabulary.ids[first]))
        tokenizer.post_processor = processors.RobertaProcessing(*ends, False, False)
        tokenizer.add_special_tokens([first, last])
    return tokenizer
