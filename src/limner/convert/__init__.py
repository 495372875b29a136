"""Checkpoints of other libraries: read, told apart, converted both ways, verified."""
