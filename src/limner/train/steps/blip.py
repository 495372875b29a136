"""One function a task: model, state and batch in; loss, named terms and state out. Model meets objective.

`blip_step` is BLIP's pre-training step, with question answering as a fourth term. A picture is encoded once;
its cross-attention keys and values are computed once and gathered for the 3b pairs of ITM, for captions and
for answers; texts of like length go together; the vocabulary is met only at positions that are counted.
Differs: equal texts, not only equal pictures, never serve as each other's hard negatives; without a teacher,
ITC is CLIP's loss within the batch.
Checked against: the same losses one by one, from whole forward passes.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 3.2.
"""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from limner import ranks
from limner.checkpoint import load_weights, stored_weights
from limner.config import Config
from limner.data.loader import Batch
from limner.data.transforms import normalise
from limner.models.bert import CrossMemory
from limner.models.blip import BLIP
from limner.objectives.captioning import lm_targets, token_loss
from limner.objectives.contrastive import clamp_temperature, clip_loss, itc_loss
from limner.objectives.matching import hard_negatives, itm_labels, itm_loss
from limner.objectives.momentum import FeatureQueue, empty_queue, push, ramp, update_teacher
from limner.shapes import ImageSpec
from limner.train.steps.task import StepResult


class ObjectiveSettings(Config):
    """[objective]: the terms of the loss and BLIP's momentum teacher.

    Args:
        itc: weight of the contrastive term; 0 leaves a term out and saves its work.
        itm: weight of the matching term.
        lm: weight of the captioning term.
        qa: weight of the question answering term.
        label_smoothing: of captions and answers.
        teacher: "momentum" gives ITC soft labels and a queue; "none" contrasts within the batch.
        momentum: share of itself the teacher keeps each step.
        alpha: final weight of the teacher's soft labels.
        alpha_steps: steps over which that weight rises from 0.
        queue_size: the teacher's features kept as further candidates; a multiple of the batch size, or 0.
        negatives: ITM's come from "all" ranks, so that their number changes nothing, or from the same "rank",
            which sends no pictures around (BLIP's pre-training).
        kind: "blip".
        prompt: words that every caption goes on from, given and not learnt: BLIP's captioners have
            "a picture of ". For captions alone.
    """

    LATER: ClassVar = frozenset({"kind", "negatives", "prompt"})

    kind: Literal["blip"] = "blip"
    negatives: Literal["all", "rank"] = "all"
    itc: float = Field(default=1.0, ge=0)
    itm: float = Field(default=1.0, ge=0)
    lm: float = Field(default=1.0, ge=0)
    qa: float = Field(default=1.0, ge=0)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    teacher: Literal["momentum", "none"] = "momentum"
    momentum: float = Field(default=0.995, ge=0, le=1)
    alpha: float = Field(default=0.4, ge=0, le=1)
    alpha_steps: int = Field(default=2000, ge=0)
    queue_size: int = Field(default=2048, ge=0)
    prompt: str = ""

    @model_validator(mode="after")
    def _some_term_counts(self) -> "ObjectiveSettings":
        if not (self.itc or self.itm or self.lm or self.qa):
            raise ValueError("one of itc, itm, lm and qa must be above 0")
        if self.prompt and (self.itc or self.itm or self.qa):
            raise ValueError(f"prompt {self.prompt!r} is of captions alone: set itc, itm and qa to 0")
        return self


class BLIPState(NamedTuple):
    """What pre-training keeps between steps, besides the model.

    Args:
        teacher: a slowly following copy of the model's encoders, or None.
        queue: the teacher's last features; may be of size 0.
        generator: source of every draw of the step but dropout.
    """

    teacher: nn.Module | None
    queue: FeatureQueue
    generator: torch.Generator

    def modules(self) -> list[nn.Module]:
        """The teacher."""
        return [self.teacher] if self.teacher is not None else []

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The queue, and the teacher where there is one."""
        queue = {"image": self.queue.image, "text": self.queue.text, "ids": self.queue.ids}
        return {"queue": queue} | ({"teacher": stored_weights(self.teacher)} if self.teacher else {})

    def facts(self) -> dict[str, Any]:
        """Where the queue is written next."""
        return {"queue_position": self.queue.position}

    def restored(self, tensors: Mapping[str, dict[str, Tensor]], facts: Mapping[str, Any]) -> "BLIPState":
        """This state as it was; the teacher in place."""
        if self.teacher is not None:
            load_weights(self.teacher, tensors["teacher"], "teacher.safetensors")
        device = self.queue.ids.device
        queue = {name: tensor.to(device) for name, tensor in tensors["queue"].items()}
        return self._replace(queue=FeatureQueue(**queue, position=facts["queue_position"]))


class BLIPStep(NamedTuple):
    """`blip_step` with its settings: a `Step`.

    Args:
        settings: terms and teacher.
        spec: preprocessing of the model.
        given: tokens of a caption that are not learnt, [CLS] among them.
    """

    settings: ObjectiveSettings
    spec: ImageSpec
    given: int = 1

    @property
    def sparing(self) -> bool:
        """True: terms are switched off, and not every batch asks a question."""
        return True

    def __call__(self, model: nn.Module, state: BLIPState, batch: Batch, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        assert isinstance(model, BLIP)
        return blip_step(model, state, batch, step, self.settings, self.spec, self.given)

    def settle(self, model: nn.Module) -> None:
        """Nothing: the temperature is clamped before each forward pass, as BLIP's is."""


def start_blip(model: BLIP, settings: ObjectiveSettings, seed: int) -> BLIPState:
    """The task state before the first step, on the model's device."""
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    if settings.teacher == "none":
        return BLIPState(None, empty_queue(0, model.config.embed_dim, generator), generator)
    queue = empty_queue(settings.queue_size, model.config.embed_dim, generator)
    return BLIPState(make_teacher(model), queue, generator)


def make_teacher(model: BLIP) -> BLIP:
    """Copy what ITC needs: both encoders and their projections; it stays in train mode, as BLIP's does."""
    teacher = copy.deepcopy(model).requires_grad_(False).train()
    for unused in ("text_decoder", "lm_head", "itm_head"):
        delattr(teacher, unused)
    return teacher


def blip_step(
    model: BLIP,
    state: BLIPState,
    batch: Batch,
    step: int,
    settings: ObjectiveSettings,
    spec: ImageSpec,
    given: int = 1,
) -> StepResult:
    """BLIP's losses of one batch.

    Args:
        model: in train mode; its temperature is clamped in place.
        state: the teacher, moved towards the model in place; the queue, not yet fed with this batch.
        batch: on the model's device.
        step: optimiser steps taken before.
        settings: which terms, and how.
        spec: preprocessing of the model.
        given: tokens of a caption that are not learnt, [CLS] among them.
    Source: BLIP section 3.2.
    """
    pixels = normalise(batch.images, spec)
    tokens = model.encode_image(pixels)
    terms: dict[str, Tensor] = {}
    stats: dict[str, Tensor] = {}
    memory = None
    if settings.itc or settings.itm:
        clamp_temperature(model.temperature)
        text = model.embed_text(batch.caption_ids, batch.caption_mask)
        embeds = Embeds(model.embed_image(tokens), text)
        stats["temperature"] = model.temperature.detach().clone()
        stats["mean_cosine"] = (embeds.image.detach() @ embeds.text.detach().T).mean()
    if settings.itc:
        terms["itc"], state = _contrast(model, state, batch, pixels, embeds, step, settings)
    if settings.itm:
        memory = model.encoder_memory(tokens)
        rivals = _rivals(model, tokens, memory, batch, embeds, state, settings.negatives == "all")
        terms["itm"], found = _match(model, batch, rivals)
        stats |= found
    if settings.lm or settings.qa:
        memory = model.decoder_memory(tokens, memory)
        terms |= _write(model, memory, batch, settings, given)
    loss = torch.stack([getattr(settings, name) * term for name, term in terms.items()]).sum()
    return StepResult(loss, terms, stats, state)


class Embeds(NamedTuple):
    """Unit vectors of a batch in the joint space, row by row.

    Args:
        image: of the pictures.
        text: of their captions.
    """

    image: Float[Tensor, "b e"]
    text: Float[Tensor, "b e"]


def _contrast(
    model: BLIP,
    state: BLIPState,
    batch: Batch,
    pixels: Float[Tensor, "b 3 y x"],
    embeds: Embeds,
    step: int,
    settings: ObjectiveSettings,
) -> tuple[Float[Tensor, ""], BLIPState]:
    teacher = state.teacher
    if teacher is None:
        return clip_loss(embeds.image, embeds.text, 1 / model.temperature), state
    assert isinstance(teacher, BLIP)
    update_teacher(teacher, model, settings.momentum)
    with torch.no_grad():
        teacher_image = ranks.gathered(teacher.embed_image(teacher.encode_image(pixels)))
        teacher_text = ranks.gathered(teacher.embed_text(batch.caption_ids, batch.caption_mask))
    ids = ranks.gathered(batch.image_ids)
    alpha = ramp(settings.alpha, step, settings.alpha_steps)
    loss = itc_loss(*embeds, teacher_image, teacher_text, state.queue, model.temperature, alpha, ids)
    return loss, state._replace(queue=push(state.queue, teacher_image, teacher_text, ids))


class Rivals(NamedTuple):
    """What a rank matches its pairs with.

    Args:
        memory: of this rank's pictures, then of the pictures that fool its texts where other ranks have them.
        pictures: row in `memory` of the picture that fools each text.
        ids: of the text that fools each picture.
        mask: True at its real tokens.
        labels: of the 3b pairs.
    """

    memory: CrossMemory
    pictures: Int[Tensor, " b"]
    ids: Int[Tensor, "b t"]
    mask: Bool[Tensor, "b t"]
    labels: Int[Tensor, " n"]


def _rivals(
    model: BLIP,
    tokens: Float[Tensor, "b n d"],
    memory: CrossMemory,
    batch: Batch,
    embeds: Embeds,
    state: BLIPState,
    everywhere: bool,
) -> Rivals:
    """Draw hard negatives, on every rank the same where they come from all."""
    there = everywhere and ranks.size() > 1
    everybody = ranks.gathered if there else _same
    ids, mask = batch.caption_ids, batch.caption_mask
    if there:
        ids, mask = ranks.padded(ids, model.config.pad_id), ranks.padded(mask, False)
    with torch.no_grad():
        image, text, all_ids = everybody(embeds.image), everybody(embeds.text), everybody(ids)
        similarity = image @ text.T / model.temperature
    pictures = everybody(batch.image_ids)
    same = (all_ids[:, None] == all_ids).all(dim=2) | (pictures[:, None] == pictures)
    image_for_text, text_for_image = hard_negatives(similarity, same, state.generator)
    negatives = itm_labels(image_for_text, text_for_image)[len(image) :].chunk(2)
    if not there:
        labels = torch.cat([torch.ones_like(image_for_text), *negatives])
        return Rivals(memory, image_for_text, ids[text_for_image], mask[text_for_image], labels)
    wanted, texts = ranks.own(image_for_text), ranks.own(text_for_image)
    strangers = ranks.gathered(tokens)[wanted]
    own = torch.arange(len(ids), device=ids.device)
    labels = torch.cat([torch.ones_like(own), *map(ranks.own, negatives)])
    memory = model.encoder_memory(torch.cat([tokens, strangers]))
    return Rivals(memory, own + len(own), all_ids[texts], ranks.gathered(mask)[texts], labels)


def _same(x: Tensor) -> Tensor:
    return x


def _match(
    model: BLIP, batch: Batch, rivals: Rivals
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """ITM over the pairs, each picture with a hard text, each text with a hard picture.

    Returns: the loss; how often it is right, and how often it says "matched", which a third are.
    """
    own = torch.arange(len(batch.caption_ids), device=batch.caption_ids.device)
    pictures = torch.cat([own, own, rivals.pictures])
    wide = rivals.ids.shape[1] - batch.caption_ids.shape[1]
    own_ids = functional.pad(batch.caption_ids, (0, wide), value=model.config.pad_id)
    own_mask = functional.pad(batch.caption_mask, (0, wide))
    ids = torch.cat([own_ids, rivals.ids, own_ids])
    mask = torch.cat([own_mask, rivals.mask, own_mask])
    logits, order = [], by_length(mask)
    for rows, longest in order:
        near = rivals.memory.rows(pictures[rows])
        logits.append(model.match(near, ids[rows, :longest], mask[rows, :longest]))
    scores, labels = torch.cat(logits), rivals.labels[torch.cat([rows for rows, _ in order])]
    counted = labels >= 0
    said = scores.detach().argmax(dim=1)[counted]
    stats = {
        "itm_accuracy": (said == labels[counted]).float().mean(),
        "itm_positive": said.float().mean(),
    }
    return ranks.mean_of(itm_loss(scores, labels) * counted.sum(), counted.sum()), stats


def _write(
    model: BLIP, memory: CrossMemory, batch: Batch, settings: ObjectiveSettings, given: int
) -> dict[str, Float[Tensor, ""]]:
    """Captions, and the answers of the rows that have a question, through the decoder."""
    smoothing = settings.label_smoothing
    own = torch.arange(len(batch.caption_ids), device=batch.caption_ids.device)
    terms = {}
    if settings.lm:
        starts = torch.full_like(own, given)
        logits, targets = _predict(model, memory, None, batch.caption_ids, batch.caption_mask, starts)
        terms["lm"] = _token_mean(logits, targets, smoothing)
    asked = batch.qa_prompt_lengths.nonzero().squeeze(1)
    if settings.qa and len(asked):
        prompts = batch.qa_prompt_lengths[asked]
        logits, targets = _predict(model, memory, asked, batch.qa_ids[asked], batch.qa_mask[asked], prompts)
        terms["qa"] = _token_mean(logits, targets, smoothing)
    elif settings.qa:
        terms["qa"] = ranks.mean_of(0 * memory.layers[0].float().sum(), 0)  # nobody asked here
    return terms


def _token_mean(logits: Tensor, targets: Tensor, smoothing: float) -> Float[Tensor, ""]:
    """The mean over the tokens of all ranks, as the share of this one."""
    return ranks.mean_of(token_loss(logits, targets, smoothing) * len(targets), len(targets))


def _predict(
    model: BLIP,
    memory: CrossMemory,
    pictures: Int[Tensor, " b"] | None,
    ids: Int[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    prompts: Int[Tensor, " b"],
) -> tuple[Float[Tensor, "s v"], Int[Tensor, " s"]]:
    """Logits and next tokens of all counted positions of some texts, each on its own picture by default."""
    states, targets = [], []
    started = functional.pad(ids[:, 1:], (1, 0), value=model.config.dec_id)
    for rows, longest in by_length(mask):
        whole = pictures is None and len(rows) == memory.num_rows  # in one block, which keeps their order
        near = memory if whole else memory.rows(rows if pictures is None else pictures[rows])
        read = model.text_decoder(started[rows, :longest], memory=near, causal=True)
        keep, wanted = lm_targets(ids[rows, :longest], mask[rows, :longest], prompts[rows])
        states.append(read[keep])
        targets.append(wanted)
    return model.write(torch.cat(states)[None])[0], torch.cat(targets)


def by_length(
    mask: Bool[Tensor, "b t"], blocks: int = 3, fewest: int = 8
) -> list[tuple[Int[Tensor, " r"], int]]:
    """Split rows into blocks of like length, so that each block is as wide as its own longest text only.

    Args:
        mask: True at real tokens, padded on the right.
        blocks: how many, of near equal row counts.
        fewest: rows of a block; a smaller one saves less than one more gradient of every weight costs.
    Returns: (rows, longest) of each block; every row is in one block.
    """
    lengths = mask.sum(dim=1)
    blocks = max(1, min(blocks, len(lengths) // fewest))
    order = lengths.argsort(stable=True) if blocks > 1 else torch.arange(len(lengths), device=mask.device)
    if blocks == 1:
        return [(order, int(lengths.max()))] if len(order) else []
    return [(rows, int(lengths[rows[-1]])) for rows in order.chunk(blocks) if len(rows)]
