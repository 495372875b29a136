"""A checkpoint as an object that sees, reads, captions, answers, classifies and matches.

One picture gives one result, a list gives a list in its order. Pictures come in through the one door
(`data/intake.py`), are prepared as the checkpoint says, and pass the model in batches, in eval mode.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from limner.capfilt.caption import caption_memory
from limner.checkpoint import Bundle
from limner.data.intake import Source
from limner.data.transforms import normalise
from limner.errors import ConfigError
from limner.evaluate.vqa_answers import answer_tokens
from limner.models import architecture_of
from limner.models.blip import BLIP
from limner.models.generate import Decoding
from limner.ready import classes, detecting, replies, towers
from limner.ready.abilities import abilities, has_joint_space, require
from limner.ready.inputs import batches, keyed_pixels, pairs_of, pictures_of, texts_of
from limner.ready.results import (
    Answer,
    Caption,
    Classification,
    Detection,
    ImageEmbeddings,
    Judgement,
    Match,
    TextEmbeddings,
)

Pictures = list[Any] | tuple[Source, ...]
Texts = str | Sequence[str]
How = Literal["greedy", "beam", "nucleus"] | Decoding | None


class _Seen(NamedTuple):
    """A batch of pictures: the number of its first one, their SHA-256, `normed` pixels for the model."""

    first: int
    keys: list[str]
    pixels: Tensor


class Ready:
    """A model and all that is needed to use it; `limner.load` makes one.

    Args:
        bundle: model in eval mode, preprocessing, tokenizer, labels.
        batch_size: pictures, or texts, at a time.
    """

    def __init__(self, bundle: Bundle, *, batch_size: int = 32) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size {batch_size}", wanted="at least 1")
        self.bundle, self.batch_size = bundle, batch_size
        self.name = bundle.kind
        self.family = bundle.architecture or architecture_of(bundle.model.config)  # type: ignore[arg-type]
        self.task = bundle.task
        self.labels, self.image_spec, self.tokenizer = bundle.labels, bundle.image_spec, bundle.tokenizer
        self.parameters = sum(weight.numel() for weight in bundle.model.parameters())
        bundle.model.eval()

    def __repr__(self) -> str:
        weight = next(self.bundle.model.parameters())
        facts = [f"{self.parameters / 1e6:,.1f}M parameters", f"{self.image_spec.size} px"]
        facts += [f"{len(self.labels)} labels"] if self.labels else []
        facts += [f"{str(weight.dtype).removeprefix('torch.')} on {weight.device}"]
        can = ", ".join(abilities(self.bundle)) or "nothing"
        return f"<limner {self.name} ({self.family}): {', '.join(facts)}; can {can}>"

    def transform(self, image: Source) -> Float[Tensor, "3 y x"]:
        """One picture as the model reads it: `normed` pixels, fp32, on the CPU.

        Raises: PictureError when the picture is refused.
        """
        return normalise(keyed_pixels([image], self.image_spec)[1], self.image_spec)[0]

    @torch.inference_mode()
    def encode_image(self, images: Source | Pictures) -> ImageEmbeddings:
        """Vectors of pictures: unit ones in the space of texts where the model has one, else features.

        Args:
            images: one picture or a list.
        Raises: ConfigError when the model gives none; PictureError when a picture is refused.
        """
        require(self.bundle, "encode_image")
        sources, one = pictures_of(images)
        parts = [towers.image_vectors(self.bundle.model, seen.pixels) for seen in self._seen(sources)]
        return ImageEmbeddings(_stacked(parts, one), has_joint_space(self.bundle))

    @torch.inference_mode()
    def encode_text(self, texts: Texts) -> TextEmbeddings:
        """Unit vectors of texts in the space of pictures; a text that is too long is cut.

        Args:
            texts: one text or a list.
        Raises: ConfigError when the model has no such space.
        """
        require(self.bundle, "encode_text")
        words, one = texts_of(texts)
        parts = [towers.text_vectors(self.bundle, words, self.batch_size)] if words else []
        return TextEmbeddings(_stacked(parts, one))

    @overload
    def classify(
        self, images: Source, labels: Texts | None = None, templates: Texts | None = None, top: int = 5
    ) -> list[Classification]: ...
    @overload
    def classify(
        self, images: Pictures, labels: Texts | None = None, templates: Texts | None = None, top: int = 5
    ) -> list[list[Classification]]: ...
    @torch.inference_mode()
    def classify(
        self,
        images: Source | Pictures,
        labels: Texts | None = None,
        templates: Texts | None = None,
        top: int = 5,
    ) -> list[Classification] | list[list[Classification]]:
        """The likeliest classes of pictures.

        Args:
            images: one picture or a list.
            labels: classes to choose from, for a model that compares pictures with texts (zero-shot); None
                for the model's own classifier.
            templates: texts with "{}" for a label, whose vectors are averaged; "a photo of a {}." when None.
            top: most classes a picture.
        Returns: best first, for one picture; a list of that for a list.
        Raises: ConfigError when the model cannot, or wants labels, or wants none; DataError when labels or
            templates are wrong; PictureError when a picture is refused.
        """
        require(self.bundle, "classify")
        if top < 1:
            raise ConfigError(f"top {top}", wanted="at least 1")
        sources, one = pictures_of(images)
        model, found = self.bundle.model, []
        if labels is None:
            names = classes.own_labels(self.bundle)
            for seen in self._seen(sources):
                found += classes.likeliest(towers.class_logits(model, seen.pixels).cpu(), names, top)
        else:
            names, forms = classes.written_labels(self.bundle, labels, templates)
            score = classes.label_scores(self.bundle, names, forms, self.batch_size)
            for seen in self._seen(sources):
                found += classes.likeliest(score(seen.pixels), names, top)
        return found[0] if one else found

    @overload
    def caption(
        self, images: Source, num: Literal[1] = 1, method: How = None, prompt: str = "", seed: int = 0
    ) -> Caption: ...
    @overload
    def caption(
        self, images: Pictures, num: Literal[1] = 1, method: How = None, prompt: str = "", seed: int = 0
    ) -> list[Caption]: ...
    @overload
    def caption(
        self, images: Source | Pictures, num: int, method: How = None, prompt: str = "", seed: int = 0
    ) -> Caption | list[Caption] | list[list[Caption]]: ...
    @torch.inference_mode()
    def caption(
        self, images: Source | Pictures, num: int = 1, method: How = None, prompt: str = "", seed: int = 0
    ) -> Caption | list[Caption] | list[list[Caption]]:
        """Describe pictures.

        Args:
            images: one picture or a list.
            num: captions a picture; several are drawn by chance, or are the best of a beam search.
            method: how words are chosen, or all settings of it; when None, "beam" for one caption and
                "nucleus" for several.
            prompt: words to go on from, not returned; BLIP's released captioners were trained on
                "a picture of ".
            seed: of words that are drawn; a caption depends on it and on its picture alone.
        Returns: a caption a picture, or with `num` > 1 a list of them.
        Raises: ConfigError when the model writes none, or several are asked of a method that always writes
            the same one; PictureError when a picture is refused.
        """
        require(self.bundle, "caption")
        if num < 1:
            raise ConfigError(f"{num} captions a picture", wanted="at least 1")
        if not isinstance(method, Decoding):
            method = Decoding(method=method or ("beam" if num == 1 else "nucleus"), num_beams=max(3, num))
        if num > 1 and method.method == "greedy":
            raise ConfigError(
                f"{num} captions a picture by {method.method!r}, which always writes the same one",
                wanted="one that draws words by chance, or keeps several texts",
                hint='method="nucleus", or method="beam"',
            )
        sources, one = pictures_of(images)
        model = self.bundle.model
        assert isinstance(model, BLIP)
        found: list[list[Caption]] = []
        for seen in self._seen(sources):
            memory = model.decoder_memory(model.encode_image(seen.pixels))
            found += caption_memory(
                self.bundle, memory, seen.keys, method, seed=seed, prompt=prompt, count=num
            )
        if num > 1:
            return found[0] if one else found
        return found[0][0] if one else [captions[0] for captions in found]

    @overload
    def answer(self, images: Source, question: str) -> Answer: ...
    @overload
    def answer(self, images: Source | Pictures, question: Texts) -> Answer | list[Answer]: ...
    @torch.inference_mode()
    def answer(self, images: Source | Pictures, question: Texts) -> Answer | list[Answer]:
        """Answer questions about pictures.

        Args:
            images: one picture or a list.
            question: one for all pictures, a list about one picture, or a list with one for each.
        Returns: an answer a question.
        Raises: ConfigError when the model was not trained to answer; DataError when there are not as many
            questions as pictures; PictureError when a picture is refused.
        """
        require(self.bundle, "answer")
        found: list[Answer] = []
        for seen, questions, rows in self._pairs(images, question):
            tokens = towers.picture_tokens(self.bundle.model, seen.pixels)
            for start, batch in batches(questions, self.batch_size):
                asked = tokens[list(rows[start : start + len(batch)])]
                found += map(Answer, answer_tokens(self.bundle, asked, batch, range(len(batch))))
        return found[0] if _is_one(images, question) else found

    @overload
    def match(self, images: Source, texts: str) -> Match: ...
    @overload
    def match(self, images: Source | Pictures, texts: Texts) -> Match | list[Match]: ...
    @torch.inference_mode()
    def match(self, images: Source | Pictures, texts: Texts) -> Match | list[Match]:
        """How well texts fit pictures.

        Args:
            images: one picture or a list.
            texts: one for all pictures, a list about one picture, or a list with one for each.
        Returns: a match a pair; CLIP gives the cosine alone.
        Raises: ConfigError when the model compares nothing; DataError when there are not as many texts as
            pictures; PictureError when a picture is refused.
        """
        require(self.bundle, "match")
        found: list[Match] = []
        for seen, words, rows in self._pairs(images, texts):
            found += replies.matches(self.bundle, seen.pixels, words, rows, self.batch_size)
        return found[0] if _is_one(images, texts) else found

    @torch.inference_mode()
    def judge(self, left: Source, right: Source, statement: Texts) -> Judgement | list[Judgement]:
        """Whether statements about two pictures are true (NLVR2).

        Args:
            left: the first picture.
            right: the second.
            statement: one or a list.
        Raises: ConfigError when the model was not trained for it; PictureError when a picture is refused.
        """
        require(self.bundle, "judge")
        texts, one = texts_of(statement, "statement")
        seen = next(self._seen([*pictures_of(left)[0], *pictures_of(right)[0]]))
        tokens = towers.picture_tokens(self.bundle.model, seen.pixels)
        found: list[Judgement] = []
        for _, batch in batches(texts, self.batch_size):
            found += map(Judgement, replies.truths(self.bundle, tokens[:1], tokens[1:2], batch))
        return found[0] if one else found

    def detect(
        self, images: Source | Pictures, least: float = 0.5
    ) -> list[Detection] | list[list[Detection]]:
        """Find things in pictures.

        Args:
            images: one picture or a list.
            least: score of what is told, at least.
        Returns: the surest first, for one picture; a list of that for a list.
        Raises: ConfigError when the model finds nothing; PictureError when a picture is refused.
        """
        require(self.bundle, "detect")
        sources, one = pictures_of(images)
        found = detecting.things(self.bundle, sources, least, self.batch_size)
        return found[0] if one else found

    def _seen(self, sources: Sequence[Source]) -> Iterator[_Seen]:
        """Pictures batch by batch, ready for the model."""
        weight = next(self.bundle.model.parameters())
        for first, batch in batches(sources, self.batch_size):
            keys, u8 = keyed_pixels(batch, self.image_spec, first)
            pixels = normalise(u8.to(weight.device), self.image_spec)
            yield _Seen(first, keys, pixels.to(weight.dtype))

    def _pairs(self, images: Source | Pictures, texts: Texts) -> Iterator[tuple[_Seen, list[str], list[int]]]:
        """Pictures batch by batch, with the texts that go with them and the row of the picture of each."""
        sources, one_picture = pictures_of(images)
        words, one_text = texts_of(texts)
        pairs = pairs_of(len(sources), len(words), one_picture, one_text)
        for seen in self._seen(sources):
            here = [(p - seen.first, t) for p, t in pairs if 0 <= p - seen.first < len(seen.keys)]
            yield seen, [words[text] for _, text in here], [row for row, _ in here]


def _is_one(images: Source | Pictures, texts: Texts) -> bool:
    return pictures_of(images)[1] and isinstance(texts, str)


def _stacked(parts: list[Tensor], one: bool) -> Float[np.ndarray, "*n e"]:
    """Batches of vectors as one array; of one picture or text its vector alone."""
    vectors: np.ndarray = (
        torch.cat([part.cpu() for part in parts]).numpy() if parts else np.empty((0, 0), np.float32)
    )
    return vectors[0] if one else vectors
