"""What the file names of Steiner et al. 2021, How to train your ViT? (arXiv 2106.10270), say."""

import re
from typing import Final, NamedTuple

_AUGREG_NAME: Final = re.compile(
    r"(?P<model>[A-Za-z0-9_+]+)-(?P<data>i1k|i21k)-(?P<epochs>\d+)ep-lr_(?P<lr>[\d.]+)-aug_(?P<augmentation>\w+)"
    r"-wd_(?P<weight_decay>[\d.]+)-do_(?P<dropout>[\d.]+)-sd_(?P<drop_path>[\d.]+)"
    r"(?:--(?P<tuned_on>\w+)-steps_(?P<steps>\d+)k-lr_(?P<tuned_lr>[\d.]+)-res_(?P<resolution>\d+))?"
)


class AugReg(NamedTuple):
    """What a file name of Steiner et al. 2021 says.

    Args:
        model: such as "B_16" or "R26_S_32".
        data: "i1k" or "i21k".
        epochs: of pre-training.
        lr: of pre-training.
        augmentation: "none", "light0" … "strong2".
        weight_decay: of pre-training.
        dropout: probability.
        drop_path: probability in the last block.
        tuned_on: data set of the fine-tuning; empty when there was none.
        steps: of fine-tuning.
        tuned_lr: of fine-tuning.
        resolution: of fine-tuning, pixels; 224 when there was none.
    """

    model: str
    data: str
    epochs: int
    lr: float
    augmentation: str
    weight_decay: float
    dropout: float
    drop_path: float
    tuned_on: str
    steps: int
    tuned_lr: float
    resolution: int


def augreg(name: str) -> AugReg | None:
    """Read a file name of AugReg, with or without .npz.

    Returns: None when it is no such name.
    """
    match = _AUGREG_NAME.fullmatch(name.removesuffix(".npz"))
    if match is None:
        return None
    said = match.groupdict()
    return AugReg(
        said["model"],
        said["data"],
        int(said["epochs"]),
        float(said["lr"]),
        said["augmentation"],
        float(said["weight_decay"]),
        float(said["dropout"]),
        float(said["drop_path"]),
        said["tuned_on"] or "",
        1000 * int(said["steps"] or 0),
        float(said["tuned_lr"] or 0),
        int(said["resolution"] or 224),
    )
