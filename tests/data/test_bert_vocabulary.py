"""BERT's vocabulary: numbering, BLIP's two words, the files of transformers, and broken ones."""

import json
from pathlib import Path

import pytest

from limner.data.bert_vocabulary import BERT_TOKENS, BERT_UNCASED, bert_ids
from limner.errors import DataError

WORDS = [*BERT_TOKENS, "a", "##b"]


def test_blips_words_follow_the_last_one() -> None:
    ids = bert_ids(BERT_UNCASED)
    assert len(ids) == 30_524
    assert (ids["[PAD]"], ids["[CLS]"], ids["[SEP]"], ids["[DEC]"], ids["[ENC]"]) == (
        0,
        101,
        102,
        30522,
        30523,
    )


def test_words_that_are_there_keep_their_place() -> None:
    assert bert_ids([*WORDS, "[ENC]"]) == {w: i for i, w in enumerate([*WORDS, "[ENC]", "[DEC]"])}
    assert bert_ids([*WORDS, "", ""])["[DEC]"] == 7  # a file's last empty lines are no words


def test_a_folder_with_either_file(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    assert bert_ids(tmp_path) == bert_ids(WORDS) == bert_ids(tmp_path / "vocab.txt")
    model = {"type": "WordPiece", "vocab": {w: i for i, w in enumerate(WORDS)}}
    facts = {
        "model": model,
        "normalizer": {"lowercase": True},
        "added_tokens": [{"id": 7, "content": "[DEC]"}],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(facts))
    assert bert_ids(tmp_path) == bert_ids(WORDS)


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({}, "no tokenizer in"),
        ({"vocab.txt": "a\nb\n"}, r"2 words without \[PAD\]"),
        ({"vocab.txt": "a", "tokenizer_config.json": '{"do_lower_case": false}'}, "keeps capital letters"),
        ({"tokenizer.json": "nonsense"}, "is no JSON"),
        ({"tokenizer.json": "[]"}, "holds no JSON object"),
        ({"tokenizer.json": '{"model": {"type": "BPE", "vocab": []}}'}, "holds a 'BPE' tokenizer"),
        ({"tokenizer.json": '{"model": {"vocab": {}}, "normalizer": null}'}, "keeps capital letters"),
    ],
)
def test_folders_without_an_uncased_bert_are_refused(
    tmp_path: Path, files: dict[str, str], match: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=match):
        bert_ids(tmp_path)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(DataError, match="cannot be read"):
        bert_ids("nowhere/vocab.txt")
