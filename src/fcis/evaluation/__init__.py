"""Metrics. Nothing here knows a model."""
