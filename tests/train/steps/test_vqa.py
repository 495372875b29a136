"""The loss of fine-tuning on questions, against loops over answers and tokens."""

import math

import numpy as np
import pytest
import torch

from limner.data.question_batches import AsQuestions
from limner.data.rows import Sample
from limner.data.tokenizers import WordPiece
from limner.data.transforms import normalise
from limner.models.bert import BertConfig
from limner.models.blip_vqa import BLIPVQA, BLIPVQAConfig
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec
from limner.train.distributed import in_micro_batches
from limner.train.steps import VQASettings, VQAStep, start_draws

TOKENIZER = WordPiece.from_texts(["what is it?", "a dog", "a cat", "two red dogs", "how many?", "2"], 100)
SPEC = ImageSpec(size=16)
ASKED = [
    ("what is it?", ("a dog", "a cat", "a dog", "two red dogs")),
    ("how many?", ("2",)),
    ("what?", ("a cat", "a dog")),
    ("is it a dog?", ("2", "2", "a dog")),
]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    ids = {f"{name}_id": getattr(TOKENIZER, f"{name}_id") for name in ("pad", "cls", "sep", "dec", "enc")}
    vision = ViTConfig(image_size=16, patch_size=8, width=16, depth=1, num_heads=2, mlp_dim=32)
    text = BertConfig(
        vocab_size=TOKENIZER.vocab_size,
        width=16,
        depth=2,
        num_heads=2,
        mlp_dim=32,
        memory_width=16,
        max_positions=40,
        dropout=0.0,
        init_std=0.3,
    )
    return BLIPVQA(BLIPVQAConfig(vision=vision, text=text, **ids)).train()


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return AsQuestions(TOKENIZER)(
        [
            Sample(str(i), rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), "", q, "", i, answers=a)
            for i, (q, a) in enumerate(ASKED)
        ]
    )


def slow_loss(model, batch, smoothing):
    """Σ over answers of share · Σ over tokens of smoothed cross entropy, over the questions."""
    total = 0.0
    pixels = normalise(batch.images, SPEC)
    for row, (question, answers) in enumerate(ASKED):
        ids = torch.tensor([TOKENIZER.encode(question)])
        for answer in sorted(set(answers)):
            spelt = TOKENIZER.encode(answer)
            logits = model(pixels[row : row + 1], ids, None, torch.tensor([spelt])).lm_logits[0]
            share = answers.count(answer) / len(answers)
            for place, token in enumerate(spelt[1:]):
                logs = logits[place].double().log_softmax(0).tolist()
                smooth = smoothing * sum(logs) / len(logs)
                total -= share * ((1 - smoothing) * logs[token] + smooth)
    return total / len(ASKED)


def step_of(smoothing=0.1):
    return VQAStep(VQASettings(kind="vqa", label_smoothing=smoothing), SPEC)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_the_definition(model, batch, smoothing):
    with torch.no_grad():
        told = step_of(smoothing)(model, start_draws(model, 0), batch, 0)
        assert float(told.loss) == pytest.approx(slow_loss(model, batch, smoothing), rel=1e-5)
    assert told.terms.keys() == {"vqa"}
    assert 0 <= float(told.stats["token_accuracy"]) <= 1
    assert math.isfinite(float(told.loss))


def test_every_parameter_learns_and_parts_of_a_batch_make_its_gradient(model, batch):
    state, step = start_draws(model, 0), step_of()
    step(model, state, batch, 0).loss.backward()
    whole = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    assert all(grad.abs().sum() > 0 for grad in whole.values())
    model.zero_grad()
    for part, share in in_micro_batches(batch, 3):
        (step(model, state, part, 0).loss * share).backward()
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, whole[name], atol=1e-5), name
    model.zero_grad()
