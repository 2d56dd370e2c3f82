"""Targets, losses, the training step and the run around it."""
