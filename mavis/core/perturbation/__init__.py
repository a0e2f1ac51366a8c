"""Perturbations: what changes an image or a model so that its answer, or a map, can be compared.

- `imputers`: what removed cells are replaced with; `linear_imputer` is ROAD's, `filters` the blur and noise they use.
- `feature_groups`: cells, superpixels or face parts that are removed together (Captum: feature mask).
- `variants`: a noisy or mirrored image, another class, other weights: under what a map is made again.
- `weight_randomisation`: model parameter randomisation (MPRT), whole or layer by layer.

Open `imputers` first.
"""
