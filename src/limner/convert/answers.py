"""What a model says of pictures of noise: finite, the same twice, the same alone as in a batch."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from limner.checkpoint import Bundle
from limner.convert.check import Check
from limner.models.blip import BLIP
from limner.models.blip_nlvr2 import BLIPNLVR2
from limner.models.blip_vqa import BLIPVQA
from limner.models.clip import CLIP
from limner.models.convirt import ConVIRT
from limner.models.icmlm import ICMLM
from limner.models.masked_patch import MaskedPatch
from limner.models.virtex import VirTex

_BATCH, _WORDS = 3, 7
_BOUND = 1e-3


def output_checks(bundle: Bundle) -> Iterator[Check]:
    """Run a model on a few pictures of noise, and texts of drawn words.

    Args:
        bundle: the model; it runs where it is.
    """
    model = bundle.model.eval()
    if (inputs := _inputs(bundle)) is None:
        return
    once, again = _outputs(model, inputs), _outputs(model, inputs)
    alone = _outputs(model, tuple(part[:1] for part in inputs))
    finite = all(bool(part.isfinite().all()) for part in once.values())
    yield Check("finite outputs", "yes", _yes(finite), finite, "weights of the wrong scale, or damaged ones")
    same = all(torch.equal(part, again[name]) for name, part in once.items())
    yield Check(
        "same outputs twice", "yes", _yes(same), same, "something is drawn by chance: is it in eval mode?"
    )
    worst = max((_gap(part[:1], alone[name]) for name, part in once.items() if part.ndim), default=0.0)
    hint = "rows of a batch touch each other: batch norm in training mode?"
    yield Check("one picture alone", f"within {_BOUND}", f"{worst:.1e}", worst <= _BOUND, hint)
    embeds = [part for name, part in once.items() if name.endswith("_embed") and part.shape[-1]]
    if embeds:
        off = max(float((part.norm(dim=-1) - 1).abs().max()) for part in embeds)
        yield Check(
            "unit embeddings", "length 1", f"off by {off:.1e}", off <= 1e-4, "they are not normalised"
        )


def _yes(fine: bool) -> str:
    return "yes" if fine else "no"


def _gap(one: Tensor, other: Tensor) -> float:
    """Largest difference, beside the largest value."""
    if not one.numel():
        return 0.0
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-6))


def _outputs(model: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The fields of a model's output."""
    given = (*inputs[:2], None, inputs[2]) if isinstance(model, BLIPVQA) else inputs
    with torch.no_grad():
        found: dict[str, Tensor] = model(*given)._asdict()
    return found


def _inputs(bundle: Bundle) -> tuple[Tensor, ...] | None:
    """Pictures and ids for one call; None for a model that is not asked this way."""
    model, size = bundle.model, bundle.image_spec.size
    if isinstance(model, (MaskedPatch, ConVIRT, ICMLM, VirTex)):
        return None
    chance = torch.Generator().manual_seed(0)
    place = next(model.parameters()).device
    pixels, others = torch.randn(2, _BATCH, 3, size, size, generator=chance).to(place)
    if not isinstance(model, (CLIP, BLIP, BLIPVQA, BLIPNLVR2)):
        return (pixels,)
    words = model.config.text.vocab_size
    ids = torch.randint(1, words, (_BATCH, _WORDS), generator=chance).to(place)
    if isinstance(model, CLIP):
        ids[:, -1] = words - 1 if model.config.text.eot_id is None else model.config.text.eot_id
        return pixels, ids
    if isinstance(model, BLIPNLVR2):
        return pixels, others, ids
    return (pixels, ids, ids) if isinstance(model, BLIPVQA) else (pixels, ids)
