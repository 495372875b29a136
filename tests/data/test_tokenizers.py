"""WordPiece: determinism, round trips, truncation, questions; and BLIP's cleaning."""

import pickle
import re
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.data.bert_vocabulary import BERT_UNCASED
from limner.data.tokenizers import SPECIAL_TOKENS, WordPiece, clean_caption, clean_question
from limner.errors import DataError

TEXTS = [
    "an owl and two red buses on a green ground",
    "a cat to the left of a dog",
    "what's left of the t-shirt? nothing, said she",
    "how many fish are there? three",
    "2034 photos",
]


@pytest.fixture(scope="module")
def tokenizer() -> WordPiece:
    return WordPiece.from_texts(TEXTS, 300)


def test_special_tokens_are_the_first_ids(tokenizer: WordPiece) -> None:
    assert tokenizer.tokens[:7] == list(SPECIAL_TOKENS)
    ids = [
        tokenizer.pad_id,
        tokenizer.unk_id,
        tokenizer.cls_id,
        tokenizer.sep_id,
        tokenizer.mask_id,
        tokenizer.dec_id,
        tokenizer.enc_id,
    ]
    assert ids == list(range(7))
    assert tokenizer.vocab_size == len(tokenizer.tokens) <= 300


def test_training_does_not_depend_on_order_or_run() -> None:
    code = (
        f"from limner.data.tokenizers import WordPiece; print(WordPiece.from_texts({TEXTS!r}, 160).to_json())"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert told[0] == told[1] == WordPiece.from_texts(reversed(TEXTS), 160).to_json().strip()


def test_merges_take_the_most_frequent_pair_and_break_ties_by_spelling() -> None:
    known = WordPiece.from_texts([], 1000).vocab_size
    tokens = WordPiece.from_texts(
        ["hug"] * 10 + ["pug"] * 5 + ["pun"] * 12 + ["bun"] * 4 + ["hugs"] * 5, 1000
    ).tokens
    grown = [token for token in tokens[known:] if len(token.removeprefix("##")) > 1]
    assert grown[:4] == ["##ug", "##un", "hug", "pun"]


def test_a_vocabulary_too_small_for_the_letters_is_refused() -> None:
    with pytest.raises(DataError, match="cannot hold"):
        WordPiece.from_texts(TEXTS, 20)


def test_rare_characters_can_be_left_out() -> None:
    texts = ["a cat"] * 5 + ["ж"]
    assert WordPiece.from_texts(texts, 100, min_count=2).encode("ж") == [2, 1, 3]
    assert WordPiece.from_texts(texts, 100).unk_id not in WordPiece.from_texts(texts, 100).encode("ж")


@pytest.mark.parametrize(
    "text",
    [
        "an owl and two red buses",
        "what's left of the t-shirt?",
        "nothing, said she",
        "two cats to the left",
        "how many fish?",
    ],
)
def test_decode_writes_english_as_it_is_written(tokenizer: WordPiece, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=60, deadline=None)
@given(words=st.lists(st.text("abcdeghilmnorstuw", min_size=1, max_size=12), min_size=1, max_size=8))
def test_round_trip_of_any_words_of_known_letters(words: list[str]) -> None:
    trained = WordPiece.from_texts(TEXTS, 160)
    assert trained.decode(trained.encode(" ".join(words), 200)) == " ".join(words)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=80), max_tokens=st.integers(3, 20))
def test_any_text_gives_valid_ids(text: str, max_tokens: int) -> None:
    tokenizer = WordPiece.from_texts(TEXTS, 160)
    ids = tokenizer.encode(text, max_tokens)
    assert ids[0] == tokenizer.cls_id
    assert ids[-1] == tokenizer.sep_id
    assert 2 <= len(ids) <= max_tokens
    assert all(0 <= i < tokenizer.vocab_size for i in ids)


def test_encode_cleans_as_blip_does(tokenizer: WordPiece) -> None:
    assert tokenizer.encode("A Cat, *to* the left!") == tokenizer.encode("a cat, to the left")


def test_batch_is_padded_to_its_longest_row_and_masked(tokenizer: WordPiece) -> None:
    texts = ["a cat", "", "a cat to the left of a dog"]
    ids, mask = tokenizer.encode_batch(texts)
    rows = [tokenizer.encode(text) for text in texts]
    assert ids.shape == mask.shape == (3, max(map(len, rows)))
    assert ids.dtype == torch.int64
    assert mask.dtype == torch.bool
    assert [row[keep].tolist() for row, keep in zip(ids, mask, strict=True)] == rows
    assert (ids[~mask] == tokenizer.pad_id).all()


def test_an_empty_batch_has_shape(tokenizer: WordPiece) -> None:
    ids, mask = tokenizer.encode_batch([])
    assert ids.shape == mask.shape == (0, 0)


def test_truncation_keeps_the_separator(tokenizer: WordPiece) -> None:
    ids = tokenizer.encode("a cat to the left of a dog", 5)
    assert ids == [*tokenizer.encode("a cat to the left of a dog")[:4], tokenizer.sep_id]


def test_question_and_answer_rows(tokenizer: WordPiece) -> None:
    pairs = tokenizer.encode_questions(["How many fish?", "", "how many fish"], ["three", "", "three"], 20)
    prompt, reply = pairs[0]
    assert tokenizer.decode(prompt) == "how many fish?"
    assert prompt[0] == tokenizer.cls_id
    assert tokenizer.tokens[prompt[-1]] == "?"
    assert reply == tokenizer.encode("three")[1:]
    assert pairs[1] == ([], [])
    assert pairs[2] == pairs[0]
    assert tokenizer.encode_question("how many fish?") == prompt


@pytest.mark.parametrize("max_tokens", [6, 9, 16])
def test_a_long_question_gives_way_to_its_answer(tokenizer: WordPiece, max_tokens: int) -> None:
    for question, answer in [("a cat " * 20, "two red buses"), ("a cat", "two red buses " * 20)]:
        prompt, reply = tokenizer.encode_questions([question], [answer], max_tokens)[0]
        assert len(prompt) + len(reply) <= max_tokens
        assert tokenizer.tokens[prompt[-1]] == "?"
        assert reply[-1] == tokenizer.sep_id
        assert len(reply) > 1


def test_json_and_pickle_keep_everything(tokenizer: WordPiece) -> None:
    for copy in (WordPiece.from_json(tokenizer.to_json()), pickle.loads(pickle.dumps(tokenizer))):
        assert copy.to_json() == tokenizer.to_json()
        assert copy.encode(TEXTS[2]) == tokenizer.encode(TEXTS[2])


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"version": "1.0"}'])
def test_what_is_no_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="not a tokenizer"):
        WordPiece.from_json(text)


def test_a_tokenizer_without_the_special_tokens_is_refused(tokenizer: WordPiece) -> None:
    with pytest.raises(DataError, match=r"has no \[DEC\]"):
        WordPiece.from_json(tokenizer.to_json().replace("[DEC]", "[DEK]"))


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_ids_equal_transformers(tokenizer: WordPiece, tmp_path) -> None:
    from transformers import BertTokenizer

    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(tokenizer.tokens), encoding="utf-8")
    peer = BertTokenizer(str(vocabulary), do_lower_case=True)
    for text in [*TEXTS, "Ünïcode wörds", "什么 cat", "unbelievable owlish buses"]:
        assert tokenizer.encode(text, 64) == peer(clean_caption(text))["input_ids"]


@pytest.fixture(scope="module")
def bert() -> WordPiece:
    return WordPiece.from_vocabulary(cleaning="bert")


@pytest.fixture(scope="module")
def blip() -> WordPiece:
    return WordPiece.from_vocabulary()


def test_berts_vocabulary_with_blips_words(bert: WordPiece, blip: WordPiece) -> None:
    for tokenizer in (bert, blip):
        assert tokenizer.vocab_size == len(tokenizer.tokens) == 30_524
        assert (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id) == (0, 101, 102)
        assert (tokenizer.unk_id, tokenizer.mask_id) == (100, 103)
        assert (tokenizer.dec_id, tokenizer.enc_id) == (30_522, 30_523)
        assert tokenizer.encode("a picture of ") == [101, 1037, 3861, 1997, 102]
        assert pickle.loads(pickle.dumps(tokenizer)).to_json() == tokenizer.to_json()


def test_the_two_cleanings_differ_in_the_signs_blip_drops(bert: WordPiece, blip: WordPiece) -> None:
    assert bert.decode(bert.encode("A dog. (Red)")) == "a dog . ( red )"
    assert blip.decode(blip.encode("A dog. (Red)")) == "a dog red"
    kept = "what, is it? a t-shirt's [x] & <y>"
    assert bert.encode(kept) == blip.encode(kept)


def test_a_spelt_special_token_counts_only_where_transformers_counts_it(
    bert: WordPiece, blip: WordPiece
) -> None:
    assert bert.encode("a [SEP] b")[2] == bert.sep_id
    assert blip.sep_id not in blip.encode("a [SEP] b")[1:-1]
    assert bert.dec_id not in bert.encode("a [DEC] b")  # transformers does not know it


def test_a_vocabulary_from_its_lines_or_a_folder(tmp_path, bert: WordPiece) -> None:
    small = WordPiece.from_vocabulary([*SPECIAL_TOKENS, "a", "cat"])
    assert (small.vocab_size, small.encode("A cat!")) == (9, [2, 7, 8, 3])
    (tmp_path / "vocab.txt").write_text("\n".join(bert.tokens[:-2]), encoding="utf-8")
    assert WordPiece.from_folder(tmp_path).to_json() == bert.to_json()
    with pytest.raises(DataError, match="no folder"):
        WordPiece.from_folder(tmp_path / "none")


def pre_caption(text: str) -> str:
    """BLIP's, without its cut by words; written from its definition."""
    spaced = re.sub(r"\s{2,}", " ", re.sub(r"[.!\"()*#:;~]", " ", text.lower()))
    return spaced.rstrip("\n").strip(" ")


def compare(texts: list[str], bert: WordPiece, blip: WordPiece, peer) -> None:
    assert bert._ids(texts, 10**6) == peer(texts)["input_ids"]
    # Python's lower() knows the final sigma, BERT's own lower-casing does not
    others = [text for text in texts if "Σ" not in text]
    assert len(others) > 0.9 * len(texts)
    assert blip._ids(others, 10**6) == peer([pre_caption(text) for text in others])["input_ids"]


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_ids_of_berts_vocabulary_equal_transformers(
    bert: WordPiece, blip: WordPiece, tricky_texts: list[str], tmp_path
) -> None:
    from transformers import BertTokenizer

    compare(tricky_texts, bert, blip, BertTokenizer(str(BERT_UNCASED)))
    BertTokenizer(str(BERT_UNCASED)).save_pretrained(tmp_path)
    assert WordPiece.from_folder(tmp_path).to_json() == bert.to_json()


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_ids_of_real_texts_equal_transformers(
    bert: WordPiece, blip: WordPiece, real_texts: list[str]
) -> None:
    from transformers import BertTokenizer

    assert len(real_texts) > 50_000
    compare(real_texts, bert, blip, BertTokenizer(str(BERT_UNCASED)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('A dog. "Two" cats!', "a dog two cats"),
        ("Hello, world? it's a t-shirt", "hello, world? it's a t-shirt"),
        ("(a) #1: b; c~d *e*", "a 1 b c d e"),
        ("  many   spaces\n\there ", "many spaces here"),
        ("", ""),
    ],
)
def test_clean_caption(given: str, expected: str) -> None:
    assert clean_caption(given) == expected


def test_clean_caption_cuts_words() -> None:
    assert clean_caption("word " * 40) == " ".join(["word"] * 30)
    assert clean_caption("a b c", max_words=2) == "a b"


@pytest.mark.parametrize(
    ("given", "expected"),
    [("What is 3.5?", "what is 35?"), ("Is it (red)", "is it red?"), ("How many  owls ??", "how many owls?")],
)
def test_clean_question(given: str, expected: str) -> None:
    assert clean_question(given) == expected
