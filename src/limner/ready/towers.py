"""Pictures and texts through the towers of each family, as vectors and class scores."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limner.checkpoint import Bundle
from limner.data.bpe import CLIPTokenizer
from limner.evaluate.pictures import device_of, texts_by_length
from limner.models.blip import BLIP
from limner.models.clip import CLIP
from limner.models.masked_patch import MaskedPatch
from limner.ready.abilities import GROUNDED
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
    if isinstance(model, CLIP):
        return model.encode_image(pixels)
    if isinstance(model, GROUNDED):
        tokens = model.encode_image(pixels)
        if isinstance(model, BLIP) and "itc" in model.config.heads:
            return model.embed_image(tokens)
        return tokens[:, 0].float()
    if isinstance(model, MaskedPatch):
        model = model.vision
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
        bundle: a CLIP, or a BLIP with the head itc, and its tokenizer; a text that is too long is cut.
        texts: one or more.
        batch_size: texts at a time.
    """
    if isinstance(bundle.model, BLIP):
        parts, places = [], []
        for batch, ids, mask in texts_by_length(bundle, texts, batch_size):
            parts.append(bundle.model.embed_text(ids, mask).cpu())
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


def cosine_scale(model: nn.Module) -> float:
    """What multiplies cosines before the softmax over labels: CLIP's logit scale, 1 / BLIP's temperature."""
    if isinstance(model, CLIP):
        return model.logit_scale.item()
    assert isinstance(model, BLIP)
    return 1 / model.temperature.item()
