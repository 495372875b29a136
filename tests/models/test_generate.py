import itertools
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from limner.errors import ConfigError, ShapeError
from limner.models.bert import CrossMemory
from limner.models.blip import BLIP, with_heads
from limner.models.decoding import holds
from limner.models.generate import Decoding, Generated, _likeliest, generate

SEP = 3
METHODS = [
    Decoding(max_tokens=8),
    Decoding(method="beam", max_tokens=8),
    Decoding(method="nucleus", max_tokens=8),
]
MakeBLIP = Callable[..., BLIP]


@pytest.fixture
def writer(small_blip: MakeBLIP) -> BLIP:
    """A captioner whose texts end after a few tokens, at different times."""
    model = small_blip()
    with torch.no_grad():
        model.lm_head.bias[SEP] += 1.2
    return model


def look(model: BLIP, pictures: int) -> CrossMemory:
    with torch.no_grad():
        return model.decoder_memory(model.encode_image(torch.randn(pictures, 3, 32, 32)))


def prompts(rows: int, length: int = 2) -> Tensor:
    ids = torch.randint(7, 12, (rows, length))
    ids[:, 0] = 2
    return ids


def next_logits(model: BLIP, memory: CrossMemory, row: int, ids: list[int]) -> Tensor:
    """Scores of the next token, from the whole text afresh."""
    with torch.no_grad():
        return model.decode(memory.rows(torch.tensor([row])), torch.tensor([ids]))[0, -1]


def log_prob(model: BLIP, memory: CrossMemory, row: int, prompt: list[int], new: list[int]) -> float:
    total = 0.0
    for i, token in enumerate(new):
        total += next_logits(model, memory, row, prompt + new[:i]).log_softmax(0)[token].item()
    return total


def with_sep(text: Generated, decoding: Decoding) -> list[int]:
    return text.ids if len(text.ids) == decoding.max_tokens else [*text.ids, SEP]


@pytest.mark.parametrize("decoding", METHODS)
def test_a_captioner_alone_writes_what_the_whole_model_does(writer: BLIP, decoding: Decoding) -> None:
    memory, starts, seeds = look(writer, 3), prompts(3), torch.arange(3)
    captioner = with_heads(writer, ("lm",))
    assert not hasattr(captioner, "text_encoder")
    whole = generate(writer, memory, starts, decoding, seeds)
    assert generate(captioner, memory, starts, decoding, seeds) == whole


def test_a_model_that_cannot_write_is_named(writer: BLIP, small_blip: MakeBLIP) -> None:
    matcher = small_blip(heads=("itc", "itm"))
    with pytest.raises(ConfigError, match="generate with a BLIP whose heads are: itc, itm"):
        generate(matcher, look(writer, 1), prompts(1), Decoding())


def test_greedy_takes_the_likeliest_token(writer: BLIP) -> None:
    memory, starts, decoding = look(writer, 6), prompts(6), Decoding(max_tokens=8)
    texts = generate(writer, memory, starts, decoding)
    for row, text in enumerate(texts):
        ids = starts[row].tolist()
        for token in with_sep(text, decoding):
            assert token == next_logits(writer, memory, row, ids).argmax().item()
            ids.append(token)
    assert len({len(text.ids) for text in texts}) > 1  # rows did finish at different times


@pytest.mark.parametrize("decoding", METHODS, ids=lambda d: d.method)
def test_log_prob_is_the_models(writer: BLIP, decoding: Decoding) -> None:
    memory, starts = look(writer, 4), prompts(4)
    decoding = decoding.model_copy(update={"repetition_penalty": 1.3, "temperature": 0.7, "min_tokens": 2})
    for row, text in enumerate(generate(writer, memory, starts, decoding, torch.arange(4))):
        want = log_prob(writer, memory, row, starts[row].tolist(), with_sep(text, decoding))
        assert text.log_prob == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize("decoding", METHODS, ids=lambda d: d.method)
def test_a_text_does_not_depend_on_its_batch(writer: BLIP, decoding: Decoding) -> None:
    memory, starts, seeds = look(writer, 5), prompts(5), torch.tensor([11, 5, 2**40, 7, 7])
    together = generate(writer, memory, starts, decoding, seeds)
    order = torch.tensor([4, 1, 0])
    apart = generate(writer, memory.rows(order), starts[order], decoding, seeds[order])
    assert [text.ids for text in apart] == [together[i].ids for i in order.tolist()]


@pytest.mark.parametrize("decoding", METHODS, ids=lambda d: d.method)
def test_several_texts_of_one_picture(writer: BLIP, decoding: Decoding) -> None:
    memory, starts, seeds = look(writer, 2), prompts(4), torch.arange(4)
    shared = generate(writer, memory, starts, decoding, seeds)
    repeated = generate(writer, memory.rows(torch.tensor([0, 0, 1, 1])), starts, decoding, seeds)
    assert [text.ids for text in shared] == [text.ids for text in repeated]


@pytest.mark.parametrize("decoding", METHODS, ids=lambda d: d.method)
def test_log_probs_of_tokens_are_the_models(writer: BLIP, decoding: Decoding) -> None:
    memory, starts = look(writer, 3), prompts(3)
    for row, text in enumerate(generate(writer, memory, starts, decoding, torch.arange(3))):
        prompt, new = starts[row].tolist(), with_sep(text, decoding)
        assert len(text.log_probs) == len(new)
        for i, told in enumerate(text.log_probs):
            scores = next_logits(writer, memory, row, prompt + new[:i]).log_softmax(0)
            assert told == pytest.approx(scores[new[i]].item(), abs=1e-4)
        assert text.log_prob == sum(text.log_probs)


RULES = {
    "top_k": 7,
    "no_repeat_ngram": 2,
    "forbidden": ((8,), (9, 10)),
    "required": ((11, 12),),
    "repetition_penalty": 1.2,
}


@pytest.mark.parametrize("decoding", METHODS, ids=lambda d: d.method)
def test_a_text_by_all_rules_does_not_depend_on_its_batch(writer: BLIP, decoding: Decoding) -> None:
    decoding = decoding.model_copy(update=RULES)
    memory, starts, seeds = look(writer, 9), prompts(9), torch.arange(9) * 1000
    together = generate(writer, memory, starts, decoding, seeds)
    for row in range(9):
        index = torch.tensor([row])
        (alone,) = generate(writer, memory.rows(index), starts[index], decoding, seeds[index])
        assert alone.ids == together[row].ids
        assert alone.log_probs == pytest.approx(together[row].log_probs, abs=1e-4)


@pytest.mark.parametrize("decoding", METHODS, ids=lambda d: d.method)
def test_rules_of_words_hold_in_every_text(writer: BLIP, decoding: Decoding) -> None:
    decoding = decoding.model_copy(update=RULES)
    memory, starts = look(writer, 16), prompts(16)
    free = generate(writer, memory, starts, decoding.model_copy(update=dict.fromkeys(RULES, ()) | PLAIN))
    texts = generate(writer, memory, starts, decoding, torch.arange(16))
    assert any(holds(text.ids, (8,)) or not holds(text.ids, (11, 12)) for text in free)
    for (_, *start), text in zip(starts.tolist(), texts, strict=True):
        assert holds(text.ids, (11, 12))
        assert not holds(text.ids, (8,))
        assert not holds([*start, *text.ids], (9, 10))
        pairs = list(itertools.pairwise([*start, *text.ids]))
        assert len(set(pairs)) == len(pairs)


PLAIN = {"method": "greedy", "top_k": 0, "no_repeat_ngram": 0, "repetition_penalty": 1.0}


def test_samples_of_a_picture_share_it_until_the_picture_is_done(writer: BLIP) -> None:
    decoding = METHODS[2]
    memory, starts, seeds = look(writer, 3), prompts(15), torch.arange(15)
    towers: list[tuple[int, int]] = []
    crossed = writer.text_decoder.cross_attention[0].kv.out_features
    forward, kept = CrossMemory.rows, []

    def rows(self: CrossMemory, index: Tensor) -> CrossMemory:
        kept.append(len(index))
        return forward(self, index)

    hook = writer.text_decoder.embeddings.register_forward_pre_hook(
        lambda _, given: towers.append(tuple(given[0].shape))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CrossMemory, "rows", rows)
        texts = generate(writer, memory, starts, decoding, seeds)
    hook.remove()
    assert memory.layers[0].shape == (3, 17, crossed)
    assert all(count < 3 for count in kept)  # pictures leave; none is ever repeated
    lengths = torch.tensor([len(with_sep(text, decoding)) for text in texts]).view(3, 5)
    for step, (count, _) in enumerate(towers):
        going = (lengths > step).sum(1)
        assert count == (going > 0).sum() * going.max()


@pytest.mark.parametrize("count", [2, 4])
def test_beam_search_gives_its_best_texts(writer: BLIP, count: int) -> None:
    memory, starts = look(writer, 3), prompts(3)
    decoding = Decoding(method="beam", num_beams=4, max_tokens=8)
    texts = generate(writer, memory, starts, decoding, count=count)
    assert len(texts) == 3 * count
    for row, best in enumerate(generate(writer, memory, starts, decoding)):
        found = texts[row * count : (row + 1) * count]
        assert found[0].ids == best.ids
        assert len({tuple(text.ids) for text in found}) == count
        ranks = [text.log_prob / len(text.log_probs) for text in found]
        assert ranks == sorted(ranks, reverse=True)


@pytest.mark.parametrize("method", ["greedy", "nucleus", "beam"])
def test_more_texts_than_a_method_keeps_are_refused(writer: BLIP, method: str) -> None:
    decoding = Decoding.model_validate({"method": method, "num_beams": 3})
    with pytest.raises(ConfigError, match="4 texts a row"):
        generate(writer, look(writer, 1), prompts(1), decoding, torch.arange(1), count=4)


@pytest.mark.parametrize("decoding", METHODS, ids=lambda d: d.method)
def test_static_shapes_give_the_same_texts(writer: BLIP, decoding: Decoding) -> None:
    memory, starts, seeds = look(writer, 4), prompts(8), torch.arange(8)
    want = generate(writer, memory, starts, decoding, seeds)
    sizes: list[tuple[int, ...]] = []
    hook = writer.text_decoder.embeddings.register_forward_pre_hook(
        lambda _, given: sizes.append(tuple(given[0].shape))
    )
    found = generate(writer, memory, starts, decoding, seeds, static=True)
    hook.remove()
    assert [text.ids for text in found] == [text.ids for text in want]
    assert len(set(sizes[1:])) == 1


COMPILED = """
import torch
from torch._dynamo.testing import CompileCounter
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.generate import Decoding, generate
from limner.models.vit import ViTConfig

sizes = dict(width=32, depth=2, num_heads=2, mlp_dim=48)
torch.manual_seed(0)
model = BLIP(BLIPConfig(
    vision=ViTConfig(image_size=32, patch_size=8, **sizes),
    text=BertConfig(vocab_size=40, max_positions=24, memory_width=32, **sizes),
    embed_dim=16, pad_id=0, cls_id=2, sep_id=3, dec_id=5, enc_id=6,
)).eval()
with torch.no_grad():
    for parameter in model.parameters():
        parameter.uniform_(-0.3, 0.3)
    memory = model.decoder_memory(model.encode_image(torch.randn(2, 3, 32, 32)))
given = memory, torch.full((2, 1), 2)
for method in ("greedy", "nucleus", "beam"):
    decoding, counter = Decoding(method=method, max_tokens=8), CompileCounter()
    want = generate(model, *given, decoding, torch.arange(2))
    torch._dynamo.reset()
    model.text_decoder.compile(fullgraph=True, backend=counter)
    found = generate(model, *given, decoding, torch.arange(2), static=True)
    model.text_decoder._compiled_call_impl = None
    assert [text.ids for text in found] == [text.ids for text in want], method
    assert max(len(text.ids) for text in found) > 2
    print(counter.frame_count)
"""


@pytest.mark.slow
def test_a_compiled_decoder_is_one_graph_for_all_steps() -> None:
    """In a process of its own: the compiler cannot look through the type checks of the tests."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1", "1", "1"], done.stderr


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
def test_wide_enough_beam_search_is_exhaustive_search(small_blip: MakeBLIP, length_penalty: float) -> None:
    model, words, longest = small_blip(words=9), 9, 3
    memory, starts = look(model, 2), prompts(2)
    starts[:, 1] = 7
    decoding = Decoding(
        method="beam", max_tokens=longest, num_beams=words ** (longest - 1), length_penalty=length_penalty
    )
    texts = [
        [*body, SEP]
        for length in range(longest)
        for body in itertools.product([w for w in range(words) if w != SEP], repeat=length)
    ]
    texts += [list(body) for body in itertools.product([w for w in range(words) if w != SEP], repeat=longest)]
    for row, found in enumerate(generate(model, memory, starts, decoding)):
        scores = exhaustive(model, memory, row, starts[row].tolist(), texts)
        best = max(range(len(texts)), key=lambda i: scores[i] / len(texts[i]) ** length_penalty)
        assert with_sep(found, decoding) == texts[best]
        assert found.log_prob == pytest.approx(scores[best], abs=1e-4)


def exhaustive(
    model: BLIP, memory: CrossMemory, row: int, prompt: list[int], texts: list[list[int]]
) -> list[float]:
    """Log-probability of every text, teacher-forced in one batch a length."""
    scores: list[float] = []
    for _, group in itertools.groupby(texts, key=len):
        ids = torch.tensor([[*prompt, *text] for text in group])
        rows = memory.rows(torch.full((len(ids),), row))
        with torch.no_grad():
            steps = model.decode(rows, ids).log_softmax(-1)[:, len(prompt) - 1 : -1]
        scores += steps.gather(2, ids[:, len(prompt) :, None]).sum((1, 2)).tolist()
    return scores


@pytest.mark.parametrize("method", ["greedy", "beam", "nucleus"])
def test_min_and_max_tokens(writer: BLIP, method: str) -> None:
    decoding = Decoding.model_validate({"method": method, "min_tokens": 3, "max_tokens": 5})
    for text in generate(writer, look(writer, 8), prompts(8), decoding, torch.arange(8)):
        assert 3 <= len(text.ids) <= 5


def test_repetition_penalty_divides_positive_and_multiplies_negative_scores(writer: BLIP) -> None:
    memory, starts, decoding = look(writer, 4), prompts(4), Decoding(max_tokens=8, repetition_penalty=1.5)
    for row, text in enumerate(generate(writer, memory, starts, decoding)):
        ids = starts[row].tolist()
        for token in with_sep(text, decoding):
            scores = next_logits(writer, memory, row, ids)
            for used in {5, *ids[1:]}:  # token 0 is [DEC] when it is read
                scores[used] = scores[used] / 1.5 if scores[used] > 0 else scores[used] * 1.5
            assert token == scores.argmax().item()
            ids.append(token)


def test_nucleus_draws_from_the_nucleus_in_proportion(writer: BLIP) -> None:
    memory, starts, draws = look(writer, 1), prompts(1), 4000
    decoding = Decoding(method="nucleus", max_tokens=1, top_p=0.6, temperature=1.5)
    texts = generate(writer, memory, starts.repeat(draws, 1), decoding, torch.arange(draws))
    drawn = torch.tensor([with_sep(text, decoding)[0] for text in texts]).bincount(minlength=40) / draws
    mass = (next_logits(writer, memory, 0, starts[0].tolist()) / 1.5).softmax(0)
    kept, total = torch.zeros(40), 0.0
    for token in mass.argsort(descending=True).tolist():
        kept[token] = mass[token]
        total += mass[token].item()
        if total >= 0.6:
            break
    assert not drawn[kept == 0].any()
    assert (kept > 0).sum() > 2
    torch.testing.assert_close(drawn, kept / kept.sum(), atol=0.03, rtol=0)


@pytest.mark.parametrize(("top_k", "top_p"), [(5, 1.0), (6, 0.7), (300, 0.6)])
def test_top_k_cuts_before_top_p(writer: BLIP, top_k: int, top_p: float) -> None:
    memory, starts, draws = look(writer, 1), prompts(1), 4000
    decoding = Decoding(method="nucleus", max_tokens=1, top_p=top_p, top_k=top_k)
    texts = generate(writer, memory, starts.repeat(draws, 1), decoding, torch.arange(draws))
    drawn = torch.tensor([with_sep(text, decoding)[0] for text in texts]).bincount(minlength=40) / draws
    mass = next_logits(writer, memory, 0, starts[0].tolist()).softmax(0)
    likeliest = mass.argsort(descending=True).tolist()[:top_k]
    whole, kept, total = mass[likeliest].sum().item(), torch.zeros(40), 0.0
    for token in likeliest:
        if total < top_p:
            kept[token] = mass[token]
        total += mass[token].item() / whole
    assert not drawn[kept == 0].any()
    torch.testing.assert_close(drawn, kept / kept.sum(), atol=0.03, rtol=0)


def test_the_nucleus_is_found_exactly() -> None:
    for spread in (0.1, 1.0, 6.0):
        mass = (torch.randn(20, 3000) * spread).softmax(1)
        for top_p in (1e-30, 1e-6, 0.3, 0.9, 1.0):
            found = _likeliest(mass, top_p)
            for row, kept in zip(mass.double(), found, strict=True):
                order = row.argsort(descending=True)
                before = row[order].cumsum(0) - row[order]
                size = int((kept > 0).sum())
                assert torch.equal(kept.double()[order[:size]], row[order[:size]])
                assert abs(size - int((before < top_p).sum())) <= 1 or top_p == 1.0
                assert kept.sum() >= top_p - 1e-6


def test_nucleus_of_one_token_is_greedy(writer: BLIP) -> None:
    memory, starts = look(writer, 4), prompts(4)
    nucleus = Decoding(method="nucleus", max_tokens=8, top_p=1e-6)
    drawn = generate(writer, memory, starts, nucleus, torch.arange(4))
    greedy = generate(writer, memory, starts, Decoding(max_tokens=8))
    assert [text.ids for text in drawn] == [text.ids for text in greedy]


def test_one_beam_is_greedy(writer: BLIP) -> None:
    memory, starts = look(writer, 4), prompts(4)
    beam = generate(writer, memory, starts, Decoding(method="beam", num_beams=1, max_tokens=8))
    greedy = generate(writer, memory, starts, Decoding(max_tokens=8))
    assert [text.ids for text in beam] == [text.ids for text in greedy]


@pytest.mark.parametrize("decoding", METHODS, ids=lambda d: d.method)
def test_finished_rows_leave_and_tokens_are_read_once(writer: BLIP, decoding: Decoding) -> None:
    sizes: list[tuple[int, ...]] = []
    hook = writer.text_decoder.embeddings.register_forward_pre_hook(
        lambda _, given: sizes.append(tuple(given[0].shape))
    )
    texts = generate(writer, look(writer, 8), prompts(8), decoding, torch.arange(8))
    hook.remove()
    beams = decoding.num_beams if decoding.method == "beam" else 1
    assert sizes[0] == (8 * beams, 2)
    assert all(tokens == 1 for _, tokens in sizes[1:])
    rows = [count for count, _ in sizes]
    assert rows == sorted(rows, reverse=True)
    if decoding.method != "beam":
        lengths = [len(with_sep(text, decoding)) for text in texts]
        assert rows == [sum(length > step for length in lengths) for step in range(max(lengths))]
        assert rows[-1] < rows[0]


def test_nucleus_without_seeds_is_refused(writer: BLIP) -> None:
    with pytest.raises(ConfigError, match="seed"):
        generate(writer, look(writer, 1), prompts(1), METHODS[2])


def test_a_text_that_could_outgrow_the_positions_is_refused(writer: BLIP) -> None:
    with pytest.raises(ShapeError, match="max_tokens=24"):
        generate(writer, look(writer, 1), prompts(1), Decoding(max_tokens=24))


@pytest.mark.peer
@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 1},
        {"num_beams": 1, "repetition_penalty": 1.4, "min_new_tokens": 3},
        {"num_beams": 1, "no_repeat_ngram_size": 2},
        {"num_beams": 1, "bad_words_ids": [[8], [9, 10], [7, 11, 12]]},
        {"num_beams": 3, "early_stopping": False},
        {"num_beams": 3, "early_stopping": True},
        {"num_beams": 4, "early_stopping": False, "length_penalty": 2.0},
        {"num_beams": 4, "early_stopping": True, "length_penalty": -1.0, "min_new_tokens": 2},
        {"num_beams": 3, "early_stopping": False, "repetition_penalty": 1.3},
        {"num_beams": 3, "no_repeat_ngram_size": 1, "repetition_penalty": 1.3},
        {"num_beams": 3, "no_repeat_ngram_size": 2, "bad_words_ids": [[8], [9, 10]], "min_new_tokens": 2},
        {"num_beams": 4, "num_return_sequences": 3},
        {"num_beams": 4, "num_return_sequences": 4, "early_stopping": True, "bad_words_ids": [[11]]},
    ],
    ids=str,
)
def test_texts_are_transformers(captioners: tuple[BLIP, nn.Module], options: dict) -> None:
    ours, theirs = ending(captioners)
    pixels, starts = torch.randn(4, 3, 32, 32), prompts(4)
    want = theirs.generate(**asked(pixels, starts), do_sample=False, max_new_tokens=8, **options)
    values = {NAMES.get(name, name): value for name, value in options.items()}
    count = values.pop("num_return_sequences", 1)
    method = "beam" if options["num_beams"] > 1 else "greedy"
    decoding = Decoding.model_validate(values | {"method": method, "max_tokens": 8})
    with torch.no_grad():
        memory = ours.decoder_memory(ours.encode_image(pixels))
    found = generate(ours, memory, starts, decoding, count=count)
    assert len(found) == len(want) == 4 * count
    for ids, row in zip([with_sep(text, decoding) for text in found], want[:, 2:].tolist(), strict=True):
        assert ids == row[: len(ids)]
        assert all(token in {0, SEP} for token in row[len(ids) :])


NAMES = {
    "min_new_tokens": "min_tokens",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "bad_words_ids": "forbidden",
}


def ending(captioners: tuple[BLIP, nn.Module]) -> tuple[BLIP, nn.Module]:
    """Both captioners, made to end their texts more often."""
    ours, theirs = captioners
    with torch.no_grad():
        ours.lm_head.bias[SEP] += 1.2
        theirs.text_decoder.cls.predictions.decoder.bias.copy_(ours.lm_head.bias)
    return ours, theirs


def asked(pixels: Tensor, starts: Tensor) -> dict[str, Tensor]:
    """What transformers takes; it drops the last token of a prompt."""
    ids = torch.cat([starts, torch.full((len(starts), 1), SEP)], 1)
    return {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.peer
@pytest.mark.parametrize(
    ("top_k", "top_p", "temperature"), [(0, 0.6, 1.0), (5, 1.0, 1.3), (8, 0.7, 0.8), (3, 0.9, 2.0)]
)
def test_words_are_drawn_from_what_transformers_draws_from(
    captioners: tuple[BLIP, nn.Module], top_k: int, top_p: float, temperature: float
) -> None:
    ours, theirs = ending(captioners)
    pixels, starts, draws = torch.randn(1, 3, 32, 32), prompts(1), 4000
    told = theirs.generate(
        **asked(pixels, starts),
        do_sample=True,
        max_new_tokens=1,
        top_k=top_k,
        top_p=top_p,
        temperature=temperature,
        output_scores=True,
        return_dict_in_generate=True,
    )
    want = told.scores[0][0].softmax(0)
    decoding = Decoding(method="nucleus", max_tokens=1, top_k=top_k, top_p=top_p, temperature=temperature)
    with torch.no_grad():
        memory = ours.decoder_memory(ours.encode_image(pixels))
    texts = generate(ours, memory, starts.repeat(draws, 1), decoding, torch.arange(draws))
    drawn = torch.tensor([with_sep(text, decoding)[0] for text in texts]).bincount(minlength=40) / draws
    assert not drawn[want == 0].any()
    torch.testing.assert_close(drawn, want, atol=0.03, rtol=0)


@pytest.mark.peer
@pytest.mark.parametrize("options", [{"num_beams": 1}, {"num_beams": 3}], ids=str)
def test_log_probs_are_transformers(captioners: tuple[BLIP, nn.Module], options: dict) -> None:
    ours, theirs = ending(captioners)
    pixels, starts = torch.randn(3, 3, 32, 32), prompts(3)
    told = theirs.generate(
        **asked(pixels, starts),
        do_sample=False,
        max_new_tokens=8,
        output_scores=True,
        return_dict_in_generate=True,
        **options,
    )
    beams = {"beam_indices": told.beam_indices} if options["num_beams"] > 1 else {}
    want = theirs.text_decoder.compute_transition_scores(
        told.sequences, told.scores, normalize_logits=options["num_beams"] == 1, **beams
    )
    decoding = Decoding(method="beam" if options["num_beams"] > 1 else "greedy", max_tokens=8)
    with torch.no_grad():
        memory = ours.decoder_memory(ours.encode_image(pixels))
    for text, row in zip(generate(ours, memory, starts, decoding), want.tolist(), strict=True):
        assert text.log_probs == pytest.approx(row[: len(text.log_probs)], abs=1e-4)
