"""Room for the keys and values of the tokens a causal tower has read."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Int
from torch import Tensor

if TYPE_CHECKING:
    from limner.models.bert import BertConfig


class SelfCache:
    """Keys and values of the tokens a causal tower has read, in room set aside once.

    Args:
        config: sizes of the tower.
        batch: rows.
        capacity: most tokens a row can hold.
        like: gives device and dtype.
    """

    def __init__(self, config: "BertConfig", batch: int, capacity: int, like: Tensor) -> None:
        shape = (config.depth, batch, config.num_heads, capacity, config.width // config.num_heads)
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        self.length: int | Tensor = 0

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write the keys and values of new tokens after `length`, and return all of that layer so far."""
        end = self.length + key.shape[2]
        self.keys[layer, :, :, self.length : end] = key
        self.values[layer, :, :, self.length : end] = value
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def select(self, index: Int[Tensor, " r"]) -> None:
        """Keep the rows at `index`, in that order; at most as many as there are."""
        for store in (self.keys, self.values):
            store[:, : len(index), :, : self.length] = store[:, index, :, : self.length]
        self.keys, self.values = self.keys[:, : len(index)], self.values[:, : len(index)]


class StaticCache(SelfCache):
    """A cache whose every shape stays as it is from step to step, for a compiled tower.

    All its room is looked at through a mask, and its length is a tensor: one graph serves all steps.
    """

    def __init__(self, config: "BertConfig", batch: int, capacity: int, like: Tensor) -> None:
        super().__init__(config, batch, capacity, like)
        self.length: Tensor = torch.zeros((), dtype=torch.int64, device=like.device)

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write the keys and values of new tokens after `length`, and return all the room of that layer."""
        places = self.length + torch.arange(key.shape[2], device=key.device)
        return (
            self.keys[layer].index_copy_(2, places, key),
            self.values[layer].index_copy_(2, places, value),
        )

    def visible(self, tokens: int) -> Bool[Tensor, "1 1 t n"]:
        """Return what each of so many new tokens may look at."""
        places = torch.arange(self.keys.shape[3], device=self.keys.device)
        return (places <= (self.length + places[:tokens])[:, None])[None, None]

    def select(self, index: Int[Tensor, " r"]) -> None:
        """Put the rows at `index` in that order; as many as there are."""
        for store in (self.keys, self.values):
            store.copy_(store[:, index])
