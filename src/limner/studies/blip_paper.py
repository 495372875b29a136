"""What BLIP's ablations of CapFilt say: their arms, their numbers, their claims.

Source: Li et al. 2022, BLIP (arXiv 2201.12086), tables 1 to 4: 14M images, ViT-B/16. Retrieval and captioning
are COCO's, after fine-tuning on it; `filtered` is the paper's "noise ratio".
"""

from typing import Final, Literal, NamedTuple

from limner.models.blip import Sharing
from limner.studies.claims import Claim

Cleaning = Literal["nucleus", "beam", "shared"]
"""One pass of CapFilt: captions drawn, captions of a beam, captioner and filter in one model."""


class Arm(NamedTuple):
    """What a model is trained on from scratch, and how it is built.

    Args:
        text: for people.
        column: of the texts.
        cleaning: the pass of CapFilt that made that column; "" for texts as they were found.
        sharing: which parameters text encoder and decoder share.
    """

    text: str
    column: str = "texts"
    cleaning: Cleaning | Literal[""] = ""
    sharing: Sharing = "all_but_self_attention"


RAW: Final = "none"
"""The arm without CapFilt: every other is held against it, and captioner and filter start from it."""

ARMS: Final[dict[str, Arm]] = {
    RAW: Arm("web texts as they are"),
    "filter": Arm("web texts that the filter keeps", "texts_kept", "nucleus"),
    "captioner": Arm("web texts and a synthetic one each", "texts_captioned", "nucleus"),
    "both": Arm("both kinds, those that the filter keeps", "texts_bootstrapped", "nucleus"),
    "beam": Arm("both, captions by beam search", "texts_bootstrapped", "beam"),
    "shared": Arm("both, captioner and filter share parameters", "texts_bootstrapped", "shared"),
    "share_all": Arm("web texts; encoder and decoder share all", sharing="all"),
    "share_all_but_ca": Arm("web texts; all but cross-attention", sharing="all_but_cross_attention"),
    "share_nothing": Arm("web texts; nothing", sharing="none"),
}

PAPER: Final[dict[str, dict[str, float]]] = {
    RAW: {"i2t_r1": 0.784, "t2i_r1": 0.607, "cider_d": 1.278},
    "filter": {"i2t_r1": 0.791, "t2i_r1": 0.615, "cider_d": 1.282},
    "captioner": {"i2t_r1": 0.797, "t2i_r1": 0.620, "cider_d": 1.289},
    "both": {"i2t_r1": 0.806, "t2i_r1": 0.631, "cider_d": 1.297, "filtered": 0.25},
    "beam": {"i2t_r1": 0.796, "t2i_r1": 0.619, "cider_d": 1.289, "filtered": 0.19},
    "shared": {"i2t_r1": 0.798, "t2i_r1": 0.622, "cider_d": 1.290, "filtered": 0.08},
    "share_all": {"i2t_r1": 0.773, "t2i_r1": 0.595, "cider_d": 1.259},
    "share_all_but_ca": {"i2t_r1": 0.775, "t2i_r1": 0.599, "cider_d": 1.261},
    "share_nothing": {"i2t_r1": 0.783, "t2i_r1": 0.605, "cider_d": 1.274},
}

CLAIMS: Final = (
    Claim("1", "filter", RAW, "filtering web texts helps"),
    Claim("1", "captioner", RAW, "synthetic captions help"),
    Claim("1", "both", RAW, "captioner and filter together help"),
    Claim("1", "both", "filter", "together they help more than the filter alone"),
    Claim("1", "both", "captioner", "together they help more than the captioner alone"),
    Claim("1", "captioner", "filter", "the captioner alone helps more than the filter alone"),
    Claim("2", "beam", RAW, "CapFilt with beam search helps"),
    Claim("2", "both", "beam", "captions that are drawn help more than those of a beam"),
    Claim("3", RAW, "share_all", "sharing all but self-attention beats sharing all"),
    Claim("3", RAW, "share_all_but_ca", "sharing all but self-attention beats all but cross-attention"),
    Claim("3", RAW, "share_nothing", "sharing all but self-attention beats sharing nothing"),
    Claim("4", "both", "shared", "captioner and filter apart are better than sharing parameters"),
    Claim("4", "shared", RAW, "CapFilt with shared parameters helps"),
)
