"""Losses as pure functions of tensors: contrast, matching, captioning, and the momentum teacher's state."""
