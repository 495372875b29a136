import copy

import pytest
import torch

from limner.data.loader import collate
from limner.data.transforms import normalise
from limner.models.blip import with_heads
from limner.objectives.captioning import lm_loss
from limner.objectives.contrastive import info_nce, itc_loss
from limner.objectives.matching import hard_negatives, itm_labels, itm_loss
from limner.objectives.momentum import update_teacher
from limner.shapes import ImageSpec
from limner.train.steps.blip import ObjectiveSettings, blip_step, by_length, make_teacher, start_blip


@pytest.fixture
def batch(make_job):
    job = make_job()
    return collate(job.loader.rows.samples([0, 3, 7, 8, 14], 0), job.loader.collate.tokenizer, 32)


@pytest.fixture
def model(make_job):
    """In eval mode, so that dropout and batch statistics do not blur the comparison."""
    return make_job().model.eval()


def run(model, batch, settings, step=2):
    state = start_blip(model, settings, 0)
    if state.teacher is not None:
        state.teacher.eval()
    return state, blip_step(model, state, batch, step, settings, SPEC)


SPEC = ImageSpec(size=16)
MOMENTUM = ObjectiveSettings(queue_size=10, alpha_steps=4, momentum=0.5)
NONE = ObjectiveSettings(teacher="none")


def test_terms_equal_the_objectives_one_by_one(model, batch):
    """Whole forward passes of each term by itself; no memory is shared, nothing is concatenated."""
    teacher = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    state = start_blip(model, MOMENTUM, 0)
    state.teacher.eval()
    update_teacher(state.teacher, teacher, 0.0)  # a teacher that lags behind
    before = copy.deepcopy(state.queue)
    result = blip_step(model, state, batch, 2, MOMENTUM, SPEC)

    update_teacher(teacher, model, 0.5)
    generator = torch.Generator().manual_seed(0)
    torch.randn(10, 8, generator=generator), torch.randn(10, 8, generator=generator)  # what the queue drew
    ids, mask = batch.caption_ids, batch.caption_mask
    pixels = normalise(batch.images, SPEC)
    tokens = model.encode_image(pixels)
    image, text = model.embed_image(tokens), model.embed_text(ids, mask)
    features = teacher.embed_image(teacher.encode_image(pixels)), teacher.embed_text(ids, mask)
    itc = itc_loss(image, text, *features, before, model.temperature, 0.2, batch.image_ids)
    similarity = image @ text.T / model.temperature
    images, texts = hard_negatives(similarity, torch.eye(5, dtype=torch.bool), generator)
    own = torch.arange(5)
    rows, words = torch.cat([own, own, images]), torch.cat([own, texts, own])
    memory = model.encoder_memory(model.encode_image(pixels[rows]))
    itm = itm_loss(model.match(memory, ids[words], mask[words]), itm_labels(images, texts))
    lm = lm_loss(model.decode(model.decoder_memory(tokens), ids), ids, mask)
    qa_logits = model.decode(model.decoder_memory(tokens), batch.qa_ids)
    qa = lm_loss(qa_logits, batch.qa_ids, batch.qa_mask, prompt_lengths=batch.qa_prompt_lengths)

    expected = {"itc": itc, "itm": itm, "lm": lm, "qa": qa}
    assert result.terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(result.terms[name], value, msg=name)
    torch.testing.assert_close(result.loss, sum(expected.values()))
    torch.testing.assert_close(result.state.queue.image[:5], features[0])
    torch.testing.assert_close(result.state.queue.text[:5], features[1])
    assert result.state.queue.position == 5
    assert torch.equal(result.state.queue.ids[:5], batch.image_ids)


def test_the_state_that_went_in_keeps_its_queue(model, batch):
    state = start_blip(model, MOMENTUM, 0)
    before = state.queue.image.clone()
    blip_step(model, state, batch, 0, MOMENTUM, SPEC)
    assert torch.equal(state.queue.image, before)
    assert state.queue.position == 0


def test_weights_scale_terms_and_zero_leaves_them_out(model, batch):
    _, result = run(model, batch, ObjectiveSettings(teacher="none", itc=0.5, itm=0.0, lm=2.0, qa=0.0))
    assert result.terms.keys() == {"itc", "lm"}
    torch.testing.assert_close(result.loss, 0.5 * result.terms["itc"] + 2 * result.terms["lm"])


def test_without_a_teacher_itc_is_info_nce_of_the_batch(model, batch):
    state, result = run(model, batch, NONE)
    tokens = model.encode_image(normalise(batch.images, SPEC))
    text = model.embed_text(batch.caption_ids, batch.caption_mask)
    expected = info_nce(model.embed_image(tokens), text, 1 / model.temperature)
    torch.testing.assert_close(result.terms["itc"], expected)
    assert state.teacher is None
    assert len(result.state.queue.ids) == 0


def test_pictures_are_encoded_once(model, batch):
    calls = []
    model.vision.register_forward_hook(lambda *_: calls.append(1))
    model.text_encoder.cross_attention[0].kv.register_forward_hook(lambda *_: calls.append(2))
    run(model, batch, NONE)
    assert calls == [1, 2]


def test_every_parameter_gets_a_gradient(model, batch):
    _, result = run(model, batch, NONE)
    result.loss.backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


def test_a_batch_without_questions_has_no_answer_loss(make_job, model):
    loader = make_job().loader
    batch = collate(loader.rows.samples([0, 2, 4], 0), loader.collate.tokenizer, 32)
    _, result = run(model, batch, NONE)
    assert result.terms["qa"] == 0
    result.loss.backward()
    assert torch.isfinite(model.lm_head.bias.grad).all()


def test_a_batch_without_questions_trains_on_answers_alone(make_job, model):
    loader = make_job().loader
    batch = collate(loader.rows.samples([0, 2, 4], 0), loader.collate.tokenizer, 32)
    _, result = run(model, batch, ObjectiveSettings(teacher="none", itc=0, itm=0, lm=0))
    result.loss.backward()
    assert result.loss == 0
    assert model.vision.pos_embed.grad.abs().sum() == 0


def test_a_loss_of_no_terms_is_refused():
    with pytest.raises(ValueError, match="must be above 0"):
        ObjectiveSettings(itc=0, itm=0, lm=0, qa=0)


def test_equal_captions_are_never_negatives(model, batch):
    same = batch._replace(
        caption_ids=batch.caption_ids[:1].expand(5, -1), caption_mask=batch.caption_mask[:1].expand(5, -1)
    )
    _, result = run(model, same, NONE)
    memory = model.encoder_memory(model.encode_image(normalise(batch.images, SPEC)))
    positives = model.match(memory, same.caption_ids, same.caption_mask)
    torch.testing.assert_close(result.terms["itm"], itm_loss(positives, torch.ones(5, dtype=torch.long)))


@pytest.mark.parametrize(("given", "clamped"), [(0.0001, 0.001), (3.0, 0.5)])
def test_temperature_is_clamped(model, batch, given, clamped):
    with torch.no_grad():
        model.temperature.fill_(given)
    _, result = run(model, batch, NONE)
    assert result.stats["temperature"] == pytest.approx(clamped)


def test_teacher_holds_only_what_itc_needs_in_train_mode(model):
    teacher = make_teacher(model.train())
    assert {name.split(".")[0] for name, _ in teacher.named_parameters()} == {
        "vision",
        "text_encoder",
        "vision_proj",
        "text_proj",
        "temperature",
    }
    assert teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_teacher_moves_before_it_is_asked_and_drops_out(make_job, batch):
    """Momentum 0: the teacher is the student by then; in train mode, two passes differ (BERT's dropout)."""
    model = make_job().model
    settings = ObjectiveSettings(queue_size=10, momentum=0.0)
    state = start_blip(model, settings, 0)
    with torch.no_grad():
        model.text_proj.weight.add_(1.0)
    first, second = (blip_step(model, state, batch, 0, settings, SPEC) for _ in range(2))
    assert torch.equal(state.teacher.text_proj.weight, model.text_proj.weight)
    assert not torch.equal(first.state.queue.text[:5], second.state.queue.text[:5])


def test_blocks_of_like_length_hold_every_row_once():
    mask = torch.arange(7) < torch.tensor([3, 7, 1, 5, 2])[:, None]
    blocks = by_length(mask, 2, fewest=1)
    assert [(rows.tolist(), longest) for rows, longest in blocks] == [([2, 4, 0], 3), ([3, 1], 7)]
    assert [len(rows) for rows, _ in by_length(mask[:1], 3, fewest=1)] == [1]
    assert [len(rows) for rows, _ in by_length(mask, 3)] == [5]
    assert [len(rows) for rows, _ in by_length(mask.repeat(5, 1), 3)] == [9, 9, 7]


@pytest.mark.parametrize(("heads", "term"), [(("lm",), "lm"), (("itc", "itm"), "itm")])
def test_captioners_and_retrieval_models_learn_their_own_terms(model, batch, heads, term):
    """A BLIP with fewer heads gives the term that the whole one gives."""
    alone = with_heads(model, heads)
    off = dict.fromkeys(("itc", "itm", "lm", "qa"), 0.0)
    settings = ObjectiveSettings(teacher="none", **{**off, term: 1.0})
    _, whole = run(model, batch, settings)
    _, part = run(alone, batch, settings)
    assert part.terms.keys() == {term}
    torch.testing.assert_close(part.loss, whole.loss)


def test_a_prompt_is_given_and_not_learnt(model, batch):
    alone = ObjectiveSettings(itc=0, itm=0, qa=0, teacher="none", label_smoothing=0.0, prompt="so")
    state = start_blip(model, alone, 0)
    whole, short = (blip_step(model, state, batch, 0, alone, SPEC, given).loss for given in (1, 3))
    tokens = model.encode_image(normalise(batch.images, SPEC))
    ids, mask = batch.caption_ids, batch.caption_mask
    spoken = model.decode(model.decoder_memory(tokens), ids).log_softmax(-1).detach()
    losses = [
        [-float(spoken[row, place - 1, ids[row, place]]) for place in range(given, int(mask[row].sum()))]
        for given in (1, 3)
        for row in range(len(ids))
    ]
    for loss, rows in ((whole, losses[: len(ids)]), (short, losses[len(ids) :])):
        flat = [value for row in rows for value in row]
        assert loss.item() == pytest.approx(sum(flat) / len(flat), rel=1e-5)


def test_a_prompt_is_for_captions_alone():
    with pytest.raises(ValueError, match="set itc, itm and qa to 0"):
        ObjectiveSettings(prompt="a picture of ")
