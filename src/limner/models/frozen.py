"""Batch norms that keep the statistics they have, for fine-tuning on few pictures a step.

Source: He et al. 2015, appendix A: in detection the batch norms stay at the statistics found on ImageNet.
"""

from torch import nn


class FrozenBatchNorm(nn.BatchNorm2d):
    """A batch norm in eval mode for good; made by `freeze_batch_norm`."""

    def train(self, mode: bool = True) -> "FrozenBatchNorm":
        """Stay in eval mode, whatever is asked."""
        super().train(False)
        return self


def freeze_batch_norm(module: nn.Module) -> None:
    """Replace every batch norm inside by one that `train()` does not wake and no gradient reaches.

    Args:
        module: changed in place; its weights and their keys stay. Not itself a batch norm.
    """
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, _frozen(child))


def _frozen(norm: nn.BatchNorm2d) -> FrozenBatchNorm:
    twin = FrozenBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    for name, tensor in (*norm.named_parameters(), *norm.named_buffers()):
        setattr(twin, name, tensor)
    twin.requires_grad_(False)
    return twin.train()
