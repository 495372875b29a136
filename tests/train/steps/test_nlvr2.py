"""The loss of fine-tuning on statements about two pictures, against one statement at a time."""

import numpy as np
import pytest
import torch

from limner.data.question_batches import AsStatements
from limner.data.rows import Sample
from limner.data.tokenizers import WordPiece
from limner.data.transforms import normalise
from limner.models.bert import BertConfig
from limner.models.blip_nlvr2 import BLIPNLVR2, BLIPNLVR2Config
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec
from limner.train.distributed import in_micro_batches
from limner.train.steps import NLVR2Settings, NLVR2Step, start_draws

TEXTS = ["both pictures show a dog", "a cat", "two red dogs in all"]
TOKENIZER = WordPiece.from_texts(TEXTS, 100)
SPEC = ImageSpec(size=16)
STEP = NLVR2Step(NLVR2Settings(kind="nlvr2"), SPEC)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    ids = {f"{name}_id": getattr(TOKENIZER, f"{name}_id") for name in ("pad", "cls", "sep", "dec", "enc")}
    vision = ViTConfig(image_size=16, patch_size=8, width=16, depth=1, num_heads=2, mlp_dim=32)
    sizes = {"width": 16, "depth": 2, "num_heads": 2, "mlp_dim": 32, "memory_width": 16, "max_positions": 40}
    text = BertConfig(vocab_size=TOKENIZER.vocab_size, dropout=0.0, init_std=0.3, **sizes)
    return BLIPNLVR2(BLIPNLVR2Config(vision=vision, text=text, **ids)).train()


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 2, 16, 16, 3), dtype=np.uint8)
    samples = [
        Sample(str(i), pictures[i, 0], "", text, ("true", "false")[i % 2], i, other=pictures[i, 1])
        for i, text in enumerate(TEXTS)
    ]
    return AsStatements(TOKENIZER)(samples)


def test_the_loss_is_the_mean_cross_entropy_of_single_statements(model, batch):
    left, right = normalise(batch.left, SPEC), normalise(batch.right, SPEC)
    total, said = 0.0, []
    with torch.no_grad():
        for row, text in enumerate(TEXTS):
            ids = torch.tensor([TOKENIZER.encode(text)])
            logits = model(left[row : row + 1], right[row : row + 1], ids).logits[0].double()
            truth = (1, 0)[row % 2]
            total -= float(logits.log_softmax(0)[truth])
            said.append(int(logits.argmax()) == truth)
        told = STEP(model, start_draws(model, 0), batch, 0)
    assert float(told.loss) == pytest.approx(total / 3, rel=1e-5)
    assert float(told.stats["accuracy"]) == pytest.approx(sum(said) / 3)
    assert told.terms.keys() == {"nlvr2"}


def test_parts_of_a_batch_make_its_gradient(model, batch):
    state = start_draws(model, 0)
    STEP(model, state, batch, 0).loss.backward()
    whole = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    for part, share in in_micro_batches(batch, 2):
        (STEP(model, state, part, 0).loss * share).backward()
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, whole[name], atol=1e-5), name
    assert whole["text_encoder.cross_attention.0.kv1.weight"].abs().sum() > 0
    model.zero_grad()
