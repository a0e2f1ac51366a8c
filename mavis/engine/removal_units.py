"""Units that are removed together along a curve: cells of the run's grid, superpixels, or cells of drawn grids."""

import torch

from mavis.core.metric_types import CurveUnit, DrawnGrid
from mavis.core.model_pass import Pass
from mavis.core.perturbation import drawn_grids
from mavis.core.perturbation.feature_groups import FeatureMask, build_feature_mask
from mavis.core.perturbation.superpixels import MAX_SUPERPIXELS, superpixels


def removal_units(model_pass: Pass, unit: CurveUnit, grid: int) -> FeatureMask:
    """The units of a batch.

    Args:
        model_pass: the pass.
        unit: see `mavis.core.metric_types.Curve`.
        grid: cells along a side of the run's grid.
    """
    if isinstance(unit, DrawnGrid):
        return _drawn_cells(model_pass, unit)
    if unit == "cell":
        return build_feature_mask(model_pass, "cell", grid)
    labels = superpixels(model_pass.images)
    return FeatureMask(labels, labels.flatten(1).amax(1) + 1, MAX_SUPERPIXELS)


def _drawn_cells(model_pass: Pass, grid: DrawnGrid) -> FeatureMask:
    """Cells whose place each image draws for itself, whatever else is drawn."""
    height, width = model_pass.images.shape[2:]
    side = drawn_grids.cell_sides(min(height, width), grid.counts)[grid.index]
    offsets = model_pass.draw(f"grid {side}", lambda stream: torch.randint(side, (2,), generator=stream))
    labels, n_units = drawn_grids.grid_labels((height, width), side, offsets)
    return FeatureMask(labels, n_units, drawn_grids.max_cells((height, width), side))
