"""Optimiser, steps and THE loop."""
