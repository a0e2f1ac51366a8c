"""Explainers of other libraries: Captum, pytorch-grad-cam, zennit, Quantus, and plain functions.

- `adapters` recognises such an object and turns it into an explainer factory for the registry.
- `isolation` runs its code on copies, without output, with random numbers that belong to the image.
"""

from mavis.explainers.external import adapters

__all__ = ["adapters"]
