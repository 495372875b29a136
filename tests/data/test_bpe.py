"""CLIP's tokenizer: the same ids as the two libraries that have one, and what a user can get wrong."""

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.data.bpe import CLIPTokenizer, clean_clip
from limner.errors import DataError

MERGES = "#version: 0.2\nt h\nth e</w>\nc a\nca t</w>\na n\n"


@pytest.fixture(scope="module")
def clip() -> CLIPTokenizer:
    return CLIPTokenizer.from_merges()


@pytest.fixture(scope="module")
def small() -> CLIPTokenizer:
    return CLIPTokenizer.from_merges(MERGES, context_length=12)


def test_the_default_vocabulary_is_clips(clip: CLIPTokenizer) -> None:
    assert (clip.vocab_size, clip.sot_id, clip.eot_id, clip.pad_id) == (49_408, 49_406, 49_407, 0)
    assert clip.encode("a photo of a cat") == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert (clip.context_length, clip.tokens[320], clip.tokens[-1]) == (77, "a</w>", "<|endoftext|>")


def test_a_small_vocabulary_works(small: CLIPTokenizer) -> None:
    assert small.vocab_size == 512 + 5 + 2
    assert [small.tokens[i] for i in small.encode("The cat")[1:-1]] == ["the</w>", "cat</w>"]
    assert small.decode(small.encode("THE ant")) == "the ant"


def test_padding_to_the_longest_or_to_the_context(small: CLIPTokenizer) -> None:
    ids, mask = small.encode_batch(["the cat", "", "the"])
    assert ids.shape == mask.shape == (3, 4)
    assert mask.sum(1).tolist() == [4, 2, 3]
    assert ids[1].tolist() == [small.sot_id, small.eot_id, 0, 0]
    wide, wide_mask = small.encode_batch(["the cat", "", "the"], pad_to="context")
    assert wide.shape == (3, 12)
    assert torch.equal(wide[:, :4], ids)
    assert torch.equal(wide_mask[:, :4], mask)
    assert not wide[:, 4:].any()
    assert small.encode_batch([])[0].shape == (0, 0)


def test_transformers_dialect_pads_with_the_end(small: CLIPTokenizer) -> None:
    other = CLIPTokenizer.from_merges(MERGES, "hf")
    ids, _ = other.encode_batch(["the cat", ""])
    assert ids[1].tolist() == [small.sot_id, *[small.eot_id] * 3]


def test_a_long_text_is_cut_and_still_ends(clip: CLIPTokenizer) -> None:
    ids, mask = clip.encode_batch(["dog " * 100], pad_to="context")
    assert (ids[0, 76].item(), mask.sum().item()) == (clip.eot_id, 77)
    assert ids[0, 1:76].unique().tolist() == clip.encode("dog")[1:-1]
    assert len(clip.encode("dog " * 75, truncate=False)) == 77
    assert clip.encode("one two three", 4)[-1] == clip.eot_id


def test_a_long_text_is_refused_when_it_may_not_be_cut(clip: CLIPTokenizer) -> None:
    with pytest.raises(DataError, match=r"(?s)a text of 78 tokens.*at most 77.*truncate=True"):
        clip.encode_batch(["a cat", "dog " * 76], truncate=False)
    with pytest.raises(DataError, match="room for the first"):
        clip.encode("a", 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("  A  photo\tof\nit ", "a photo of it"),
        ("&amp;amp;amp; &lt;b&gt;", "& <b>"),
        ("“curly” ‘quotes’", "\"curly\" 'quotes'"),
        ("doesnâ€™t schÃ¶n", "doesn't schön"),
        ("ﬁne ＷＩＤＥ", "fine wide"),
        ("a\x07b\u200b", "ab\u200b"),
        ("", ""),
    ],
)
def test_cleaning(given: str, expected: str) -> None:
    assert clean_clip(given) == expected


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_plain_text_needs_no_repair(text: str) -> None:
    import html

    import ftfy

    repaired = html.unescape(html.unescape(ftfy.fix_text(text)))
    assert clean_clip(text) == " ".join(repaired.split()).lower()


def test_a_spelt_special_token_is_the_token_as_in_clips_code(clip: CLIPTokenizer) -> None:
    cat = clip.encode("a cat")[1:-1]
    assert clip.encode("a cat <|endoftext|> a cat")[1:-1] == [*cat, clip.eot_id, *cat]
    assert clip.eot_id not in clip.encode("a cat !<|endoftext|>")[1:-1]
    other = CLIPTokenizer.from_merges(dialect="open_clip")
    assert other.encode("a cat <|endoftext|>") == clip.encode("a cat <|endoftext |>")
    assert other.encode("<start_of_text>")[1:-1] == [other.sot_id]


def test_decode_stops_at_the_end_and_leaves_padding_out(clip: CLIPTokenizer) -> None:
    ids, _ = clip.encode_batch(["a dog's bed, 12 😀"], pad_to="context")
    assert clip.decode(ids[0]) == "a dog 's bed , 1 2 😀"
    assert clip.decode([]) == ""


@pytest.mark.parametrize("dialect", ["openai", "open_clip", "hf"])
def test_json_and_pickle_keep_everything(dialect: str, tricky_texts: list[str]) -> None:
    tokenizer = CLIPTokenizer.from_merges(MERGES, dialect, context_length=20)
    expected = tokenizer.encode_batch(tricky_texts[:100])[0]
    for copy in (CLIPTokenizer.from_json(tokenizer.to_json()), pickle.loads(pickle.dumps(tokenizer))):
        assert copy.to_json() == tokenizer.to_json()
        assert (copy.dialect, copy.context_length, copy.pad_id) == (dialect, 20, tokenizer.pad_id)
        assert torch.equal(copy.encode_batch(tricky_texts[:100])[0], expected)


@pytest.mark.parametrize("text", ["", "{}", "not json"])
def test_what_is_no_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="not a CLIP tokenizer"):
        CLIPTokenizer.from_json(text)


def test_a_tokenizer_without_the_special_tokens_is_refused(small: CLIPTokenizer) -> None:
    with pytest.raises(DataError, match="lacks"):
        CLIPTokenizer.from_json(small.to_json().replace("<|startoftext|>", "<|start|>"))


def test_vocabulary_and_merges_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"a": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\nx y\n")
    with pytest.raises(DataError, match="do not fit"):
        CLIPTokenizer.from_folder(tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(DataError, match="lacks"):
        CLIPTokenizer.from_folder(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, clip: CLIPTokenizer) -> Path:
    """CLIP's vocabulary as transformers keeps it."""
    import json

    place = tmp_path_factory.mktemp("clip")
    facts = json.loads(clip.to_json())["model"]
    (place / "vocab.json").write_text(json.dumps(facts["vocab"]), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in facts["merges"])
    (place / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    return place


def test_a_folder_of_transformers_serves_every_dialect(folder: Path) -> None:
    for dialect in ("openai", "open_clip"):
        expected = CLIPTokenizer.from_merges(dialect=dialect)
        assert CLIPTokenizer.from_folder(folder, dialect).to_json() == expected.to_json()


@pytest.mark.peer
@pytest.mark.parametrize("dialect", ["openai", "open_clip"])
def test_ids_equal_open_clip(dialect: str, tricky_texts: list[str]) -> None:
    import open_clip

    peer = open_clip.SimpleTokenizer()
    ids, _ = CLIPTokenizer.from_merges(dialect=dialect).encode_batch(tricky_texts, pad_to="context")
    assert [t for t, row in zip(tricky_texts, ids == peer(tricky_texts), strict=True) if not row.all()] == []


@pytest.mark.peer
def test_the_vocabulary_is_open_clips(clip: CLIPTokenizer) -> None:
    import open_clip.tokenizer

    full = CLIPTokenizer.from_merges(Path(open_clip.tokenizer.default_bpe()))
    assert full.to_json() == clip.to_json()
    assert full.tokens[:-2] == list(open_clip.SimpleTokenizer().encoder)[:-2]


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_ids_equal_transformers(folder: Path, tmp_path: Path, tricky_texts: list[str]) -> None:
    from transformers import CLIPTokenizer as Peer

    peer = Peer.from_pretrained(folder)
    tokenizer = CLIPTokenizer.from_folder(folder)
    texts = [*tricky_texts, "a <|endoftext|> b<|startoftext|>", "!<|ENDOFTEXT|>"]
    told = peer(texts, padding="max_length", max_length=77, truncation=True)
    ids, mask = tokenizer.encode_batch(texts, pad_to="context")
    assert torch.equal(ids, torch.tensor(told["input_ids"]))
    assert torch.equal(mask.long(), torch.tensor(told["attention_mask"]))
    peer.save_pretrained(tmp_path)  # a tokenizer.json
    assert CLIPTokenizer.from_folder(tmp_path).to_json() == tokenizer.to_json()


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_ids_of_real_texts_equal_both_peers(folder: Path, real_texts: list[str]) -> None:
    import open_clip
    from transformers import CLIPTokenizer as Peer

    assert len(real_texts) > 50_000
    ids, _ = CLIPTokenizer.from_merges().encode_batch(real_texts, pad_to="context")
    assert torch.equal(ids, open_clip.SimpleTokenizer()(real_texts))
    ids, _ = CLIPTokenizer.from_folder(folder).encode_batch(real_texts, pad_to="context")
    told = Peer.from_pretrained(folder)(real_texts, padding="max_length", max_length=77, truncation=True)
    assert torch.equal(ids, torch.tensor(told["input_ids"]))
