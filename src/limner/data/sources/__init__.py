"""What people have, read as items: one file for each kind of source, and the guess that tells them apart."""

from limner.data.sources.guess import KINDS, guess_source
from limner.data.sources.item import Guess, ImportOptions, Item, fields_of

__all__ = ["KINDS", "Guess", "ImportOptions", "Item", "fields_of", "guess_source"]
