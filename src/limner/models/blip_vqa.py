"""BLIP's visual question answering (Li, Li, Xiong, Hoi 2022, arXiv 2201.12086, section 5.3 and Figure 5a).

Implements: the text encoder, grounded in a picture, reads a question; a text decoder of its own weights,
    whose cross-attention reads the question's states, writes the answer or ranks given ones.
Differs from the released code: the padding of a question is never read; that code reads it when it writes, so
    that there an answer depends on what else is in the batch. A question's keys and values are computed once
    for all answers, and words are scored only where a token follows.
Checked against: arrays from the authors' released code (answer logits, ranking); parameter count;
    transformers `BlipForQuestionAnswering`.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from limner.errors import ShapeError
from limner.models.bert import PARTS, Bert, BertConfig, CrossMemory
from limner.models.blip import BLIP, GroundedConfig, LMHead, copy_weights, start_with
from limner.models.vit import ViT


class BLIPVQAConfig(GroundedConfig):
    """Sizes of a BLIP that answers questions."""

    @property
    def answers(self) -> BertConfig:
        """Sizes of the answer decoder: it reads texts, so its memory is as wide as the text."""
        return self.text.model_copy(update={"memory_width": self.text.width})


class BLIPVQAOutput(NamedTuple):
    """What is told of answers to questions about pictures.

    Args:
        lm_logits: scores of the token that follows each token of each answer.
    """

    lm_logits: Float[Tensor, "a t v"]


class Ranked(NamedTuple):
    """Candidates of each question, best first.

    Args:
        answers: row of each candidate.
        scores: minus the summed token losses, ≤ 0.
    """

    answers: Int[Tensor, "b k"]
    scores: Float[Tensor, "b k"]


class BLIPVQA(nn.Module):
    """An image encoder, a question encoder that reads pictures, an answer decoder that reads questions.

    Args:
        config: sizes.
    """

    def __init__(self, config: BLIPVQAConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = ViT(config.vision)
        self.text_encoder = Bert(config.text)
        self.text_decoder = Bert(config.answers)
        self.lm_head = LMHead(config.answers)

    def encode_image(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b n d"]:
        """Return the tokens of `normed` pixels; token 0 is the class token."""
        tokens: Tensor = self.vision(pixels).tokens
        return tokens

    def question_memory(
        self,
        tokens: Float[Tensor, "b n d"],
        ids: Int[Tensor, "q t"],
        mask: Bool[Tensor, "q t"] | None = None,
    ) -> CrossMemory:
        """Return what the decoder needs of questions, for `decode`, `rank` and `generate`.

        Args:
            tokens: of the pictures.
            ids: questions; with g a picture, rows i·g … i·g + g − 1 ask of picture i. Token 0 is replaced by
                [ENC].
            mask: True where a token is real; None when all are.
        """
        started = start_with(ids, self.config.enc_id)
        states = self.text_encoder(started, mask, self.text_encoder.memory(tokens))
        return self.text_decoder.memory(states, mask)

    def decode(self, memory: CrossMemory, ids: Int[Tensor, "a t"]) -> Float[Tensor, "a t v"]:
        """Score the token that follows each token of an answer.

        Args:
            memory: from `question_memory`.
            ids: answers, padded on the right; with g a question, those of one stand next to each other.
                Token 0 is replaced by [DEC].
        Returns: logits; row i of an answer is about token i + 1.
        """
        ids = start_with(ids, self.config.dec_id)
        return self.write(self.text_decoder(ids, memory=memory, causal=True))

    def write(self, states: Float[Tensor, "a t d"]) -> Float[Tensor, "a t v"]:
        """Return the logits of the decoder's output states."""
        logits: Tensor = self.lm_head(states, self.text_decoder.embeddings.words.weight)
        return logits

    @torch.no_grad()
    def rank(
        self,
        memory: CrossMemory,
        ids: Int[Tensor, "a t"],
        mask: Bool[Tensor, "a t"],
        k: int = 128,
        label_smoothing: float = 0.1,
    ) -> Ranked:
        """Order given answers to each question: the `k` whose first token is likeliest, by their whole loss.

        Args:
            memory: from `question_memory`.
            ids: candidate answers, the same for all questions, [CLS] … [SEP], padded on the right.
            mask: True where a token is real.
            k: candidates kept by their first token; all when there are fewer.
            label_smoothing: of the loss; the released models are ranked with that of their training, 0 is the
                log-probability.
        Returns: the k candidates of each question, best first.
        Raises: ShapeError when a candidate has no token after its first.
        Source: the released code's `rank_answer`; k = 128 in its config.
        """
        if not bool(mask.sum(1).min() > 1):
            raise ShapeError(
                "an answer of fewer than 2 tokens",
                wanted="[CLS], the answer, [SEP]",
                hint="drop empty answers",
            )
        start = ids[:1, :1].expand(memory.num_rows, 1)
        first = self.decode(memory, start)[:, 0].float().log_softmax(1)
        places = first[:, ids[:, 1]].topk(min(k, len(ids)), dim=1).indices
        rows = torch.arange(memory.num_rows, device=ids.device)
        scores = torch.stack(
            [
                self._scores(memory.rows(row[None]), ids[place], mask[place], label_smoothing)
                for row, place in zip(rows, places, strict=True)
            ]
        )
        best = scores.argsort(dim=1, descending=True, stable=True)
        return Ranked(places.gather(1, best), scores.gather(1, best))

    def _scores(self, memory: CrossMemory, ids: Tensor, mask: Tensor, smoothing: float) -> Tensor:
        """Minus the summed loss of each answer to one question."""
        longest = int(mask.sum(1).max())
        ids, counted = ids[:, :longest], mask[:, 1:longest]
        started = start_with(ids, self.config.dec_id)
        states = self.text_decoder(started, memory=memory, causal=True)[:, :-1][counted]
        logits = self.write(states[None])[0].float()
        losses = F.cross_entropy(logits, ids[:, 1:][counted], reduction="none", label_smoothing=smoothing)
        return -losses.new_zeros(counted.shape).masked_scatter(counted, losses).sum(1)

    def forward(
        self,
        pixels: Float[Tensor, "b 3 y x"],
        ids: Int[Tensor, "q t"],
        mask: Bool[Tensor, "q t"] | None,
        answer_ids: Int[Tensor, "a u"],
    ) -> BLIPVQAOutput:
        """Read pictures, questions and answers.

        Args:
            pixels: `normed`.
            ids: questions, [CLS] … [SEP], padded on the right; as many for each picture.
            mask: True where a question's token is real; None when all are.
            answer_ids: answers, [CLS] … [SEP], padded on the right; as many for each question.
        """
        memory = self.question_memory(self.encode_image(pixels), ids, mask)
        return BLIPVQAOutput(self.decode(memory, answer_ids))


def vqa_from(model: BLIP) -> BLIPVQA:
    """Make a model to fine-tune on questions out of a pre-trained BLIP, which is left as it is.

    What encoder and decoder shared becomes their own. Where picture and text differ in width (ViT-L), keys
    and values of the decoder's cross-attention start afresh, as they do in the released code.

    Raises: ConfigError when the model lacks the head "itm" or "lm".
    """
    for head in ("itm", "lm"):
        model.require(head, "vqa_from")
    values = model.config.model_dump(include=set(BLIPVQAConfig.model_fields))
    target = BLIPVQA(BLIPVQAConfig.model_validate(values)).to(model.vision.cls_token)
    for name in ("vision", "text_encoder", "lm_head"):
        copy_weights(getattr(model, name), getattr(target, name))
    for name in PARTS:
        if name != "cross_attention":
            copy_weights(getattr(model.text_decoder, name), getattr(target.text_decoder, name))
    fits = target.config.answers == target.config.text
    for old, new in zip(model.text_decoder.cross_attention, target.text_decoder.cross_attention, strict=True):
        for name in ("query", "out", "norm", *(("kv",) if fits else ())):
            copy_weights(getattr(old, name), getattr(new, name))
    return target.train(model.training)
