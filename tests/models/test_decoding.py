import pytest
import torch

from limner.config import build
from limner.errors import ConfigError
from limner.models.decoding import Decoding, holds, ruled

SEP, WORDS = 3, 12


def ruled_row(text: list[int], step: int, decoding: Decoding, scores: torch.Tensor) -> torch.Tensor:
    used = torch.zeros(1, WORDS, dtype=torch.bool)
    used[0, text] = True
    return ruled(scores[None], used, [text], step, decoding, SEP)[0]


def banned(text: list[int], decoding: Decoding) -> list[int]:
    scores = torch.randn(WORDS)
    found = ruled_row(text, 1, decoding, scores)
    kept = found > -torch.inf
    assert torch.equal(found[kept], scores[kept])
    return (~kept).nonzero()[:, 0].tolist()


def test_new_fields_leave_old_settings_their_digest() -> None:
    assert set(Decoding().model_dump()) == {
        "method",
        "max_tokens",
        "min_tokens",
        "num_beams",
        "top_p",
        "temperature",
        "repetition_penalty",
        "length_penalty",
        "early_stopping",
    }
    assert Decoding(top_k=5).model_dump()["top_k"] == 5


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_run_comes_twice(size: int) -> None:
    text = [5, 7, 8, 7, 8, 9, 7, 8]
    runs = {tuple(text[i : i + size]) for i in range(len(text) - size + 1)}
    want = [token for token in range(WORDS) if tuple([*text, token][-size:]) in runs]
    assert banned(text, Decoding(no_repeat_ngram=size)) == want
    assert banned([5], Decoding(no_repeat_ngram=3)) == []


def test_forbidden_words_of_one_token_and_of_several() -> None:
    decoding = Decoding(forbidden=((4,), (7, 8), (9, 7, 10)))
    assert banned([5, 7], decoding) == [4, 8]
    assert banned([5, 9, 7], decoding) == [4, 8, 10]
    assert banned([5, 8], decoding) == [4]


def test_a_missing_word_comes_instead_of_the_end() -> None:
    scores, decoding = torch.zeros(WORDS), Decoding(required=((7, 8),), max_tokens=6)
    scores[SEP] = 2.0
    found = ruled_row([5, 9], 1, decoding, scores)
    assert found[SEP] == -torch.inf
    assert found[7] == 2.0
    assert ruled_row([5, 7, 8], 2, decoding, scores)[SEP] == 2.0  # it is there: the text may end


def test_a_word_begun_goes_on_and_the_last_room_is_kept_for_what_is_missing() -> None:
    decoding = Decoding(required=((7, 8), (10,)), max_tokens=6)
    for text, step, want in (([5, 7], 1, 8), ([5, 9, 9, 9], 3, 7), ([5, 1, 1, 1, 7], 4, 8)):
        found = ruled_row(text, step, decoding, torch.randn(WORDS))
        assert (found > -torch.inf).nonzero()[:, 0].tolist() == [want]


def test_the_prompt_counts_for_runs_but_not_as_a_required_word() -> None:
    scores = torch.zeros(WORDS)
    assert ruled_row([5, 7], 0, Decoding(required=((7,),)), scores)[SEP] == -torch.inf
    assert ruled_row([5, 7], 0, Decoding(no_repeat_ngram=1), scores)[7] == -torch.inf


def test_holds() -> None:
    assert holds([1, 2, 3], [2, 3])
    assert not holds([1, 2, 3], [3, 2])
    assert not holds([1], [1, 2])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"required": [[]]}, "no tokens"),
        ({"required": [[4, 5], [6]], "max_tokens": 3}, "do not fit"),
        ({"required": [[4, 5, 6]], "forbidden": [[5, 6]]}, "forbidden too"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(values: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build(values, Decoding, "decoding")
