"""Vocabularies of byte-pair encodings: numbering, the files of transformers, and broken ones."""

import gzip
import json
from pathlib import Path

import pytest

from limner.data.bpe_vocabulary import (
    CLIP_MERGES,
    CONTEXT,
    byte_letters,
    vocabulary_from_folder,
    vocabulary_from_merges,
)
from limner.errors import DataError

TEXT = "#version: 0.2\nt h\nth e</w>\n"


def test_bytes_come_first_then_merges_then_special_tokens() -> None:
    vocabulary = vocabulary_from_merges(TEXT, ["<s>", "</s>"], 49_408)
    assert vocabulary.merges == [("t", "h"), ("th", "e</w>")]
    assert [token for token, place in vocabulary.ids.items() if place >= 512] == [
        "th",
        "the</w>",
        "<s>",
        "</s>",
    ]
    assert (vocabulary.ids["!"], vocabulary.ids["!</w>"]) == (0, 256)


def test_every_byte_has_its_own_letter() -> None:
    letters = byte_letters()
    assert len(set(letters)) == 256
    assert letters[:3] == ["!", '"', "#"]
    assert not any(letter.isspace() for letter in letters)


def test_merges_beyond_the_size_are_left_out() -> None:
    assert vocabulary_from_merges(TEXT, ["<s>", "</s>"], 515).merges == [("t", "h")]
    assert len(vocabulary_from_merges(TEXT, [], 10).ids) == 512


def test_clips_merges_make_49408_tokens_plain_or_gzipped(tmp_path: Path) -> None:
    plain = vocabulary_from_merges(CLIP_MERGES, ["<s>", "</s>"], 49_408)
    assert len(plain.ids) == 49_408
    packed = tmp_path / "merges.txt.gz"
    packed.write_bytes(gzip.compress(CLIP_MERGES.read_bytes()))
    assert vocabulary_from_merges(packed, ["<s>", "</s>"], 49_408) == plain


@pytest.mark.parametrize("pairs", [["t h", "th e</w>"], [["t", "h"], ["th", "e</w>"]]])
def test_tokenizer_json_old_and_new(tmp_path: Path, pairs: list[object]) -> None:
    ids = {"t": 0, "h": 1, "e</w>": 2, "th": 3, "the</w>": 4}
    model = {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": ids, "merges": pairs}
    facts = {
        "model": model,
        "normalizer": {"type": "Lowercase"},
        "added_tokens": [{"id": 5, "content": "<s>"}],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(facts))
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": {"content": "h"}, "model_max_length": 32}')
    vocabulary = vocabulary_from_folder(tmp_path)
    assert vocabulary.ids == ids | {"<s>": 5}
    assert vocabulary.merges == [("t", "h"), ("th", "e</w>")]
    assert (vocabulary.pad_id, vocabulary.context_length) == (1, 32)


def test_two_files_and_an_absurd_length(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
    vocabulary = vocabulary_from_folder(tmp_path)
    assert (vocabulary.ids, vocabulary.pad_id, vocabulary.context_length) == ({"a": 0}, None, CONTEXT)


def test_a_line_that_is_no_merge_is_named() -> None:
    with pytest.raises(DataError, match=r"line 3 of the merges is 'a b c'"):
        vocabulary_from_merges("#version\nt h\na b c\n", [], 600)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        vocabulary_from_merges(tmp_path / "none", [], 600)
    (tmp_path / "cut.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match="cannot be read"):
        vocabulary_from_merges(tmp_path / "cut.gz", [], 600)


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({}, "no tokenizer in"),
        ({"vocab.json": "{}"}, "no tokenizer in"),
        ({"tokenizer.json": "nonsense"}, "is no JSON"),
        ({"tokenizer.json": "[]"}, "holds no JSON object"),
        ({"tokenizer.json": '{"model": {"type": "WordPiece"}}'}, "tokenizer.json of 'WordPiece'"),
        (
            {"tokenizer.json": '{"model": {"end_of_word_suffix": "</w>", "vocab": {}, "merges": []}}'},
            "keeps capital letters",
        ),
    ],
)
def test_folders_without_a_clip_tokenizer_are_refused(
    tmp_path: Path, files: dict[str, str], match: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=match):
        vocabulary_from_folder(tmp_path)
