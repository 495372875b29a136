"""Pictures and texts through the towers of each family, as vectors and class scores."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limner.checkpoint import Bundle
from limner.data.bpe import CLIPTokenizer
from limner.data.ngram_dictionary import NGramDictionary
from limner.evaluate.pictures import device_of, texts_by_length
from limner.models.blip import BLIP
from limner.models.clip import CLIP
from limner.models.convirt import ConVIRT
from limner.models.ngrams import NGrams
from limner.models.towers import see
from limner.objectives.ngrams import phrase_scores
from limner.ready.abilities import GROUNDED, LEARNT_BY
from limner.ready.inputs import batches


def picture_tokens(model: nn.Module, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b n d"]:
    """Tokens of pictures, of a model that reads texts and pictures together.

    Args:
        model: a BLIP of any kind.
        pixels: `normed`, of the model's size, device and dtype.
    """
    assert isinstance(model, GROUNDED)
    return model.encode_image(pixels)


def image_vectors(model: nn.Module, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b e"]:
    """Vectors of pictures: unit ones of the joint space where the model has one, else features.

    Args:
        model: any that reads pictures.
        pixels: `normed`, of the model's size, device and dtype.
    Returns: fp32.
    """
    if isinstance(model, (CLIP, ConVIRT)):
        return model.encode_image(pixels)
    if isinstance(model, GROUNDED):
        tokens = model.encode_image(pixels)
        if isinstance(model, BLIP) and "itc" in model.config.heads:
            return model.embed_image(tokens)
        return tokens[:, 0].float()
    if isinstance(model, LEARNT_BY):
        return see(model.vision, pixels).pooled.float()
    pooled: Tensor = model(pixels).pooled
    return pooled.float()


def penultimate(model: nn.Module, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b d"]:
    """What the last layer before any projection or classifier gives of pictures, for a linear probe.

    Args:
        model: any that reads pictures.
        pixels: `normed`, of the model's size, device and dtype.
    Returns: fp32, not normalised; of a CLIP's ViT and of a BLIP the class token before the joint space.
    Source: Radford et al. 2021, section 3.2 and appendix A.3.
    """
    if isinstance(model, CLIP):
        return model.image_features(pixels).float()
    if isinstance(model, GROUNDED):
        return model.encode_image(pixels)[:, 0].float()
    return image_vectors(model, pixels)


def class_logits(model: nn.Module, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b k"]:
    """Scores of the model's own classifier, fp32.

    Args:
        model: one that has a classifier.
        pixels: `normed`, of the model's size, device and dtype.
    """
    if isinstance(model, BLIP):
        scores: Tensor = model.classifier(model.encode_image(pixels)[:, 0])
    else:
        scores = model(pixels).logits
    return scores.float()


def text_vectors(bundle: Bundle, texts: Sequence[str], batch_size: int) -> Float[Tensor, "n e"]:
    """Unit vectors of texts in the joint space, fp32, on the CPU, in their order.

    Args:
        bundle: a CLIP, a ConVIRT, or a BLIP with the head itc, and its tokenizer; a long text is cut.
        texts: one or more.
        batch_size: texts at a time.
    """
    model = bundle.model
    if isinstance(model, (BLIP, ConVIRT)):
        read = model.embed_text if isinstance(model, BLIP) else model.encode_text
        parts, places = [], []
        for batch, ids, mask in texts_by_length(bundle, texts, batch_size):
            parts.append(read(ids, mask).cpu())
            places += batch
        return torch.cat(parts)[torch.tensor(places).argsort()]
    return torch.cat([_clip_texts(bundle, batch) for _, batch in batches(texts, batch_size)])


def _clip_texts(bundle: Bundle, texts: Sequence[str]) -> Float[Tensor, "b e"]:
    model, tokenizer = bundle.model, bundle.tokenizer
    assert isinstance(model, CLIP)
    assert isinstance(tokenizer, CLIPTokenizer)
    longest = min(tokenizer.context_length, model.config.text.context_length)
    ids, _ = tokenizer.encode_batch(texts, longest)
    return model.encode_text(ids.to(device_of(bundle))).cpu()


def phrase_logits(
    bundle: Bundle, pixels: Float[Tensor, "b 3 y x"], phrases: Sequence[str]
) -> Float[Tensor, "b k"]:
    """How well phrases fit pictures, by the n-grams that they are made of; fp32, on the CPU.

    Args:
        bundle: a visual n-gram model and its dictionary.
        pixels: `normed`, of the model's size, device and dtype.
        phrases: k of them.
    """
    model, dictionary = bundle.model, bundle.tokenizer
    assert isinstance(model, NGrams)
    assert isinstance(dictionary, NGramDictionary)
    logits = model(pixels).logits.float().cpu()
    return phrase_scores(logits, dictionary.encode_batch(phrases), dictionary.prefixes)


def cosine_scale(model: nn.Module) -> float:
    """What multiplies cosines before the softmax over labels: CLIP's scale, or 1 / the temperature."""
    if isinstance(model, CLIP):
        return model.logit_scale.item()
    if isinstance(model, ConVIRT):
        return 1 / model.config.temperature
    assert isinstance(model, BLIP)
    return 1 / model.temperature.item()
