"""Importing this registers everything: each module's decorators do it."""

from mavis_example import explainers, kinds, metrics, models, pictures

__all__ = ["explainers", "kinds", "metrics", "models", "pictures"]
