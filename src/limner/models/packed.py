"""A BLIP decoder for a few rows at a time, on CPU, in fp32.

Writing reads one token a row, and what it costs is the reading of the decoder's matrices. torch multiplies a
few rows by a matrix two to three times slower than memory allows; oneDNN does not, when the matrix is laid
out for it. The packed matrices are a copy, kept as long as the model and made again when its weights change.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limner.models.bert import PARTS, Bert
from limner.models.blip import BLIP
from limner.models.blip_vqa import BLIPVQA

Writer = BLIP | BLIPVQA
_ROWS = 8  # what the layout is told to expect; it serves more and fewer
_PROBES = 61


class Decoder(NamedTuple):
    """What writing needs of a model.

    Args:
        tower: reads texts.
        score: turns its states into logits.
    """

    tower: Bert
    score: Callable[[Float[Tensor, "b t d"]], Float[Tensor, "b t v"]]


class _Packed(NamedTuple):
    decoder: Decoder
    fingerprint: Tensor


_KEPT: "WeakKeyDictionary[Writer, _Packed]" = WeakKeyDictionary()


class PackedLinear(nn.Module):
    """A linear layer whose matrix is laid out for few rows; it learns nothing.

    Args:
        weight: fp32 on CPU, one row an output.
        bias: one number an output.
    """

    def __init__(self, weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"]) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)
        self.bias = bias.detach()

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        """Return x · weightᵀ + bias."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


def decoder_of(model: Writer) -> Decoder:
    """Return the decoder of a model: packed where that is faster and gives the same, as it is elsewhere."""
    if not packs(model):
        return Decoder(model.text_decoder, model.write)
    now, kept = _fingerprint(model), _KEPT.get(model)
    if kept is None or not torch.equal(kept.fingerprint, now):
        kept = _KEPT[model] = _Packed(_pack(model), now)
    return kept.decoder


def packs(model: Writer) -> bool:
    """Whether a model's decoder can be packed: fp32 on a CPU, not learning, by a torch that has the means."""
    weight = model.lm_head.dense.weight
    return (
        weight.device.type == "cpu"
        and weight.dtype is torch.float32
        and not (torch.is_grad_enabled() or model.training or torch.is_autocast_enabled("cpu"))
        and torch._C._has_mkldnn
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _pack(model: Writer) -> Decoder:
    """A copy of the decoder that shares all but the matrices, and those packed."""
    shared: list[Tensor | nn.Module] = [*model.parameters(), model.text_decoder.embeddings]
    tower = copy.deepcopy(model.text_decoder, {id(part): part for part in shared})
    for name in PARTS[1:]:
        for module in list(getattr(tower, name).modules()):
            for place, layer in list(module.named_children()):
                if isinstance(layer, nn.Linear) and place != "kv":  # which `memory` reads, not `forward`
                    setattr(module, place, PackedLinear(layer.weight, layer.bias))
    head = model.lm_head
    dense = PackedLinear(head.dense.weight, head.dense.bias)
    words = PackedLinear(model.text_decoder.embeddings.words.weight, head.bias)
    return Decoder(tower, lambda states: words(head.norm(head.act(dense(states)))))


def _fingerprint(model: Writer) -> Tensor:
    """Numbers that differ when weights do: where they lie, how often they were written, some of them."""
    weights = [model.lm_head.dense.weight, model.lm_head.bias, model.text_decoder.embeddings.words.weight]
    for name in PARTS[1:]:
        layers = getattr(model.text_decoder, name).modules()
        weights += [layer.weight for layer in layers if isinstance(layer, nn.Linear)]
    some = [weight.detach().reshape(-1)[:: max(weight.numel() // _PROBES, 1)] for weight in weights]
    written = [0 if weight.is_inference() else weight._version for weight in weights]
    places = [weight.data_ptr() for weight in weights]
    return torch.cat([torch.cat(some).double(), torch.tensor([*places, *written], dtype=torch.float64)])
