from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from limner.errors import ConfigError, ShapeError
from limner.models.bert import BertConfig, CrossMemory
from limner.models.blip import BLIP, BLIPConfig
from limner.models.blip_vqa import BLIPVQA, BLIPVQAConfig, vqa_from
from limner.models.generate import Decoding, generate
from limner.models.vit import ViTConfig

MakeBLIP = Callable[..., BLIP]
Released = Callable[[str], tuple[BLIPVQA, SimpleNamespace]]


@pytest.fixture
def asked() -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, questions and their mask."""
    ids = torch.randint(7, 40, (3, 6))
    ids[:, 0] = 2
    mask = torch.arange(6) < torch.tensor([[6], [4], [5]])
    return torch.randn(3, 3, 32, 32), ids * mask, mask


@pytest.fixture
def answers() -> tuple[Tensor, Tensor]:
    """Nine answers and their mask."""
    ids = torch.randint(7, 40, (9, 5))
    ids[:, 0] = 2
    lengths = torch.tensor([3, 4, 5, 3, 4, 5, 3, 4, 3])
    ids[torch.arange(9), lengths - 1] = 3
    mask = torch.arange(5) < lengths[:, None]
    return ids * mask, mask


def remembered(model: BLIPVQA, asked: tuple[Tensor, Tensor, Tensor]) -> CrossMemory:
    pixels, ids, mask = asked
    with torch.no_grad():
        return model.question_memory(model.encode_image(pixels), ids, mask)


def test_numbers_are_those_of_the_released_code(released_model: Released) -> None:
    model, told = released_model("vqa")
    memory = remembered(model, (told.pixels, told.ids, told.mask))
    counted = told.answer_mask[:3]
    with torch.no_grad():
        logits = model.decode(memory, told.answer_ids[:3])
    torch.testing.assert_close(logits[counted], told.lm_logits[counted], atol=1e-5, rtol=1e-5)


def test_ranking_is_that_of_the_released_code(released_model: Released) -> None:
    model, told = released_model("vqa")
    memory = remembered(model, (told.pixels, told.ids, told.mask))
    for k, best in zip((1, 3, 7), told.best, strict=True):
        assert torch.equal(model.rank(memory, told.answer_ids, told.answer_mask, k).answers[:, 0], best)
    ranked = model.rank(memory, told.answer_ids, told.answer_mask)
    torch.testing.assert_close(ranked.scores, told.scores.gather(1, ranked.answers), atol=1e-5, rtol=1e-5)
    assert ranked.scores.shape == (3, 7)


def test_training_loss_of_the_released_code_from_our_logits(released_model: Released) -> None:
    model, told = released_model("vqa")
    questions = torch.arange(3).repeat_interleave(told.counts)
    memory = remembered(model, (told.pixels, told.ids, told.mask)).rows(questions)
    ids, mask = told.answer_ids[:5], told.answer_mask[:5]
    with torch.no_grad():
        logits = model.decode(memory, ids)[:, :-1]
    losses = functional.cross_entropy(
        logits.transpose(1, 2), ids[:, 1:], reduction="none", label_smoothing=0.1
    )
    each = (losses * mask[:, 1:]).sum(1)
    torch.testing.assert_close((told.weights * each).sum() / 3, told.loss, atol=1e-5, rtol=1e-5)


def test_rank_without_smoothing_is_the_log_probability(
    small_vqa: BLIPVQA, asked: tuple[Tensor, Tensor, Tensor], answers: tuple[Tensor, Tensor]
) -> None:
    memory, (ids, mask) = remembered(small_vqa, asked), answers
    ranked = small_vqa.rank(memory, ids, mask, k=4, label_smoothing=0.0)
    for question in range(3):
        one = memory.rows(torch.tensor([question]))
        first = []
        for answer in range(9):
            words = ids[answer : answer + 1, : int(mask[answer].sum())]
            with torch.no_grad():
                log_probs = small_vqa.decode(one, words)[0].log_softmax(-1)
            total = log_probs[:-1].gather(1, words[0, 1:, None]).sum()
            first.append(log_probs[0, words[0, 1]].item())
            if answer in ranked.answers[question]:
                place = ranked.answers[question].tolist().index(answer)
                torch.testing.assert_close(ranked.scores[question, place], total)
        kept = torch.tensor(first).topk(4).indices
        assert set(kept.tolist()) == set(ranked.answers[question].tolist())
        assert (ranked.scores[question].diff() <= 0).all()


def test_an_answer_without_words_is_refused(small_vqa: BLIPVQA, asked: tuple[Tensor, Tensor, Tensor]) -> None:
    ids, mask = torch.tensor([[2, 7, 3], [2, 0, 0]]), torch.tensor([[True] * 3, [True, False, False]])
    with pytest.raises(ShapeError, match="fewer than 2 tokens"):
        small_vqa.rank(remembered(small_vqa, asked), ids, mask)


def test_padding_of_a_question_is_never_read(
    small_vqa: BLIPVQA, asked: tuple[Tensor, Tensor, Tensor], answers: tuple[Tensor, Tensor]
) -> None:
    pixels, ids, mask = asked
    together = generate(
        small_vqa, remembered(small_vqa, asked), torch.full((3, 1), 5), Decoding(max_tokens=6)
    )
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = pixels[row : row + 1], ids[row : row + 1, :length], mask[row : row + 1, :length]
        one = generate(small_vqa, remembered(small_vqa, alone), torch.full((1, 1), 5), Decoding(max_tokens=6))
        assert one[0].ids == together[row].ids
        assert one[0].log_prob == pytest.approx(together[row].log_prob, abs=1e-4)


def test_several_questions_and_answers_stand_next_to_each_other(
    small_vqa: BLIPVQA, asked: tuple[Tensor, Tensor, Tensor], answers: tuple[Tensor, Tensor]
) -> None:
    (pixels, ids, mask), (answer_ids, _) = asked, answers
    with torch.no_grad():
        all_three = small_vqa(pixels[:1], ids, mask, answer_ids).lm_logits
        for question in range(3):
            here = slice(question, question + 1)
            one = small_vqa(pixels[:1], ids[here], mask[here], answer_ids[3 * question : 3 * question + 3])
            torch.testing.assert_close(one.lm_logits, all_three[3 * question : 3 * question + 3])


def test_start_tokens_replace_token_0(
    small_vqa: BLIPVQA, asked: tuple[Tensor, Tensor, Tensor], answers: tuple[Tensor, Tensor]
) -> None:
    seen: list[int] = []
    for tower in (small_vqa.text_encoder, small_vqa.text_decoder):
        tower.embeddings.register_forward_pre_hook(
            lambda _, given: seen.extend(given[0][:, 0].unique().tolist())
        )
    small_vqa(*asked, answers[0])
    assert seen == [6, 5]


def test_a_wide_picture_has_a_narrow_answer_memory() -> None:
    vision = ViTConfig(image_size=32, patch_size=8, width=48, depth=1, num_heads=2, mlp_dim=16)
    text = BertConfig(vocab_size=40, width=32, depth=1, num_heads=2, mlp_dim=16, memory_width=48)
    config = BLIPVQAConfig(vision=vision, text=text, cls_id=2, sep_id=3, dec_id=5, enc_id=6)
    model = BLIPVQA(config)
    shapes = [tower.cross_attention[0].kv.weight.shape for tower in (model.text_encoder, model.text_decoder)]
    assert shapes == [(64, 48), (64, 32)]


@pytest.mark.parametrize("width", [32, 48])
def test_vqa_from_keeps_what_fits(small_blip: MakeBLIP, width: int) -> None:
    values = small_blip().config.model_dump()
    values["vision"]["width"] = values["text"]["memory_width"] = width
    model = BLIP(BLIPConfig.model_validate(values)).eval()
    made = vqa_from(model)
    assert isinstance(made, BLIPVQA)
    ids = torch.randint(7, 40, (2, 5))
    assert torch.equal(made.text_decoder(ids, causal=True), model.text_decoder(ids, causal=True))
    assert torch.equal(made.text_encoder(ids), model.text_encoder(ids))
    old, new = model.text_decoder.cross_attention[1], made.text_decoder.cross_attention[1]
    assert torch.equal(old.query.weight, new.query.weight)
    assert torch.equal(old.kv.weight, new.kv.weight) if width == 32 else new.kv.weight.shape == (64, 32)
    shared = {id(p) for p in made.text_decoder.parameters()} & {id(p) for p in made.text_encoder.parameters()}
    assert not shared


def test_vqa_from_needs_both_towers(small_blip: MakeBLIP) -> None:
    with pytest.raises(ConfigError, match="vqa_from with a BLIP whose heads are: itc, itm"):
        vqa_from(small_blip(heads=("itc", "itm")))


@pytest.mark.peer
def test_answer_logits_are_transformers(
    answerers: tuple[BLIPVQA, nn.Module],
    asked: tuple[Tensor, Tensor, Tensor],
    answers: tuple[Tensor, Tensor],
) -> None:
    (ours, theirs), (pixels, ids, mask) = answerers, asked
    words, counted = answers[0][:3], answers[1][:3]
    questions, started = ids.clone(), words.clone()
    questions[:, 0], started[:, 0] = 6, 5  # transformers leaves token 0 to the caller
    kept: list[Tensor] = []
    theirs.text_decoder.register_forward_hook(lambda *given: kept.append(given[2].logits))
    with torch.no_grad():
        theirs(
            pixel_values=pixels,
            input_ids=questions,
            attention_mask=mask.long(),
            decoder_input_ids=started,
            decoder_attention_mask=counted.long(),
        )
        # The transformers tested here never masks a question's padding; ours does, as the released code.
        got = ours.decode(remembered(ours, asked)._replace(mask=None), words)
    torch.testing.assert_close(got[counted], kept[0][counted], atol=1e-4, rtol=1e-4)


@pytest.mark.peer
@pytest.mark.parametrize("beams", [1, 3])
def test_written_answers_are_transformers(
    answerers: tuple[BLIPVQA, nn.Module], asked: tuple[Tensor, Tensor, Tensor], beams: int
) -> None:
    (ours, theirs), (pixels, ids, mask) = answerers, asked
    with torch.no_grad():
        theirs.text_decoder.cls.predictions.bias[3] += 1.0
        ours.lm_head.bias[3] += 1.0
    questions = ids.clone()
    questions[:, 0] = 6
    want = theirs.generate(
        input_ids=questions,
        pixel_values=pixels,
        attention_mask=mask.long(),
        num_beams=beams,
        max_new_tokens=7,
    )
    # Like the released code, transformers lets the answer read a question's padding; ours does not.
    memory = remembered(ours, asked)._replace(mask=None)
    decoding = Decoding(method="beam" if beams > 1 else "greedy", num_beams=beams, max_tokens=7)
    got = generate(ours, memory, torch.full((3, 1), 2), decoding)
    for ours_ids, theirs_ids in zip(got, want.tolist(), strict=True):
        assert ours_ids.ids == [token for token in theirs_ids[1:] if token not in (0, 3)]
