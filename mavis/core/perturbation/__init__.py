"""Perturbations: changes of images and models whose effect on outputs and maps is measured.

- `imputers`: fill removed pixels; `linear_imputer` is ROAD's, `filters` the blur and noise they use.
- `feature_groups`: cells, superpixels or face parts that are removed together (Captum: feature mask);
  `drawn_grids`: cells of grids that each image draws for itself.
- `variants`: perturbed inputs, classes and models for which a map is computed again.
- `weight_randomisation`: model parameter randomisation (MPRT), all layers or layer by layer.

Open `imputers` first.
"""
