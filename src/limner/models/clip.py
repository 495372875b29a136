"""Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision (2103.00020).

Implements: both towers and the joint space of Figure 3: a ViT with a layer norm before its blocks, or the
    modified ResNet, beside a causal text transformer read at its end-of-text token; the learned temperature.
Differs from the paper: a batch of texts is cut behind its last end-of-text token before the text tower reads
    it. The tower is causal, so nothing behind that token can reach it: same numbers, less work.
Checked against: open_clip `CLIP` (ViT and ResNet, both activations), transformers `CLIPModel`; parameter
    counts of OpenAI's nine models.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.errors import ShapeError
from limner.models.clip_resnet import CLIPResNet, CLIPResNetConfig, CLIPResNetOutput
from limner.models.layers import Activation, Block
from limner.models.vit import ViT, ViTOutput
from limner.models.vit_config import ViTConfig

LARGEST_LOG_LOGIT_SCALE = math.log(100)
"""Section 2.5: clipped "to prevent scaling the logits by more than 100"."""


_FEWEST_TOKENS = 16
"""In a batch: a CPU multiplies smaller matrices along another path, which differs in the last bits."""


class CLIPTextConfig(Config):
    """Sizes of the text tower.

    Args:
        vocab_size: tokens.
        context_length: most tokens of a text, the first and the last special token included.
        width: of a token.
        depth: transformer blocks.
        num_heads: heads of each attention; divides `width`.
        mlp_dim: hidden width of each MLP.
        activation: of each MLP; a key of `layers.ACTIVATIONS`.
        layer_norm_eps: of every layer norm.
        eot_id: the text is read at the first token of this id; None: at the first token of the largest id in
            the row, which is the end-of-text token of CLIP's own vocabulary.
    """

    vocab_size: int = Field(default=49408, ge=1)
    context_length: int = Field(default=77, ge=2)
    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    mlp_dim: int = Field(ge=1)
    activation: Activation = "quick_gelu"
    layer_norm_eps: float = Field(default=1e-5, gt=0)
    eot_id: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _sizes_fit(self) -> "CLIPTextConfig":
        if self.width % self.num_heads:
            raise ValueError(f"width by num_heads: {self.width} is not divisible by {self.num_heads}")
        if self.eot_id is not None and self.eot_id >= self.vocab_size:
            raise ValueError(f"eot_id {self.eot_id} is outside vocab_size {self.vocab_size}")
        return self


class CLIPConfig(Config):
    """Sizes of a CLIP.

    Args:
        vision: the image encoder.
        text: the text encoder.
        embed_dim: of the joint space.
    """

    vision: ViTConfig | CLIPResNetConfig
    text: CLIPTextConfig
    embed_dim: int = Field(ge=1)

    @model_validator(mode="after")
    def _towers_fit(self) -> "CLIPConfig":
        if isinstance(self.vision, CLIPResNetConfig) and self.vision.embed_dim != self.embed_dim:
            raise ValueError(f"vision.embed_dim {self.vision.embed_dim} is not embed_dim {self.embed_dim}")
        if isinstance(self.vision, ViTConfig) and self.vision.num_classes:
            raise ValueError(f"vision.num_classes {self.vision.num_classes}: CLIP has no classifier, give 0")
        return self


class CLIPTextOutput(NamedTuple):
    """What the text tower tells of a text.

    Args:
        tokens: after the final layer norm.
        pooled: the end-of-text token.
    """

    tokens: Float[Tensor, "b t d"]
    pooled: Float[Tensor, "b d"]


class CLIPOutput(NamedTuple):
    """What CLIP tells of pictures and texts.

    Args:
        image_embed: unit vectors of the pictures, fp32.
        text_embed: unit vectors of the texts, fp32.
        logit_scale: multiplies their cosines, > 0.
    """

    image_embed: Float[Tensor, "b e"]
    text_embed: Float[Tensor, "k e"]
    logit_scale: Float[Tensor, ""]


class CLIPText(nn.Module):
    """A causal transformer over tokens, as GPT-2.

    Args:
        config: sizes.
    Source: section 2.4 and the released code.
    """

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.config = config
        width, eps = config.width, config.layer_norm_eps
        sizes = (width, config.num_heads, config.mlp_dim, eps, config.activation)
        self.words = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Parameter(torch.empty(config.context_length, width))
        self.blocks = nn.Sequential(*(Block(*sizes, causal=True) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width, eps)
        self._init_weights()

    def _init_weights(self) -> None:
        config = self.config
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)
        into = config.width**-0.5
        out = into * (2 * config.depth) ** -0.5
        stds = {"attn.qkv": into, "attn.proj": out, "mlp.fc1": (2 * config.width) ** -0.5, "mlp.fc2": out}
        for block in self.blocks:
            _init_as_torch(block)
            for name, layer in _dense(block).items():
                nn.init.normal_(layer.weight, std=stds[name])

    def eot_index(self, ids: Int[Tensor, "b t"]) -> Int[Tensor, " b"]:
        """Where each text is read: at its end-of-text token; at 0 when `eot_id` is given and not there."""
        if self.config.eot_id is None:
            return ids.argmax(-1)
        return (ids == self.config.eot_id).int().argmax(-1)

    def forward(self, ids: Int[Tensor, "b t"]) -> CLIPTextOutput:
        """Read texts.

        Args:
            ids: tokens, at most `context_length` of them; what follows the end-of-text token is
                not looked at.
        Raises: ShapeError when a text is longer.
        """
        length = ids.shape[1]
        if length > self.config.context_length:
            raise ShapeError(
                f"texts of {length} tokens",
                wanted=f"at most {self.config.context_length}",
                hint="cut them as they are tokenised; the end-of-text token must stay",
            )
        x = self.words(ids) + self.positions[:length]
        tokens = self.norm(self.blocks(x))
        rows = torch.arange(len(ids), device=ids.device)
        return CLIPTextOutput(tokens, tokens[rows, self.eot_index(ids)])


class CLIP(nn.Module):
    """Pictures and texts in one space.

    Args:
        config: sizes.
    Source: section 2.4 and Figure 3.
    """

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.config = config
        self.vision: ViT | CLIPResNet
        self.vision_proj: nn.Linear | None
        if isinstance(config.vision, ViTConfig):
            self.vision = ViT(config.vision)
            self.vision_proj = nn.Linear(config.vision.width, config.embed_dim, bias=False)
            _init_vision(self.vision)
            nn.init.normal_(self.vision_proj.weight, std=config.vision.width**-0.5)
        else:
            self.vision = CLIPResNet(config.vision)
            self.vision_proj = None
        self.text = CLIPText(config.text)
        self.text_proj = nn.Linear(config.text.width, config.embed_dim, bias=False)
        nn.init.normal_(self.text_proj.weight, std=config.text.width**-0.5)
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """What multiplies cosines; the parameter is its logarithm."""
        return self.log_logit_scale.exp()

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Keep `logit_scale` at 100 or below; call after each optimiser step. Source: section 2.5."""
        self.log_logit_scale.clamp_(max=LARGEST_LOG_LOGIT_SCALE)

    def image_features(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b d"]:
        """Features for a linear probe, not normalised.

        Args:
            pixels: `normed`, of the vision tower's image size.
        Returns: of a ViT the vector before the projection into the joint space, d = width; of a ResNet what
            the attention pool gives, d = embed_dim.
        Source: section 3.2 and appendix A.3.
        """
        read: ViTOutput | CLIPResNetOutput = self.vision(pixels)
        return read.pooled

    def encode_image_tokens(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b n d"]:
        """Tokens of pictures: the class token and the patches of a ViT, the cells of a ResNet's last map.

        Args:
            pixels: `normed`, of the vision tower's image size.
        """
        read: ViTOutput | CLIPResNetOutput = self.vision(pixels)
        return read.tokens

    def encode_image(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b e"]:
        """Unit vectors of pictures, fp32.

        Args:
            pixels: `normed`, of the vision tower's image size.
        """
        features = self.image_features(pixels)
        return _unit(features if self.vision_proj is None else self.vision_proj(features))

    def encode_text(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b e"]:
        """Unit vectors of texts, fp32.

        Args:
            ids: tokens, at most `context_length` of them; padding makes no difference and costs nothing.
        """
        return _unit(self.text_proj(self.text(self._cut(ids)).pooled))

    def _cut(self, ids: Tensor) -> Tensor:
        """Drop the columns behind every text's end; not in traced code, whose shapes hang on no value."""
        if ids.is_meta or torch.compiler.is_compiling() or not len(ids):
            return ids
        longest = int(self.text.eot_index(ids).max()) + 1
        return ids[:, : max(longest, _FEWEST_TOKENS // len(ids))]

    def forward(self, pixels: Float[Tensor, "b 3 y x"], ids: Int[Tensor, "k t"]) -> CLIPOutput:
        """Read pictures and texts; as many of one as of the other, or not.

        Args:
            pixels: `normed`, of the vision tower's image size.
            ids: tokens, at most `context_length` of them.
        """
        return CLIPOutput(self.encode_image(pixels), self.encode_text(ids), self.logit_scale)


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features.float(), dim=-1)


def _dense(block: nn.Module) -> dict[str, nn.Linear]:
    return {name: layer for name, layer in block.named_modules() if isinstance(layer, nn.Linear)}


def _init_as_torch(block: nn.Module) -> None:
    """What torch gives dense layers and attention of its own."""
    layers = _dense(block)
    for layer in layers.values():
        layer.reset_parameters()
    nn.init.xavier_uniform_(layers["attn.qkv"].weight)
    for name in ("attn.qkv", "attn.proj"):
        nn.init.zeros_(layers[name].bias)


def _init_vision(vision: ViT) -> None:
    """The released code's: tokens and positions by width, everything else as torch has it."""
    std = vision.config.width**-0.5
    for table in (vision.cls_token, vision.pos_embed):
        if table is not None:
            nn.init.normal_(table, std=std)
    vision.patch_embed.proj.reset_parameters()
    for block in vision.blocks:
        _init_as_torch(block)
