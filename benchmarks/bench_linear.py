"""The linear imputer of ROAD against the peers' own, without noise: one RGB image of 16 × 16 cells, some removed.

A peer that is not installed is skipped. Read the ratios of the medians within a group.
"""

import numpy as np
import pytest
import torch

from mavis.core.attribution_maps import cells_to_pixels
from mavis.core.perturbation.linear_imputer import impute_linearly

GREY = torch.full((3,), 0.5)


def removal(size, share):
    """An RGB image, and which of its pixels are removed: cells at random."""
    generator = torch.Generator().manual_seed(0)
    gone = torch.randperm(256, generator=generator) < round(256 * share)
    return torch.rand(3, size, size, generator=generator), cells_to_pixels(gone, (size, size))


def by_mavis(image, removed):
    return impute_linearly(image[None], removed[None, None], GREY)[0, 0]


def by_quantus(image, removed):
    from quantus.functions.perturb_func import noisy_linear_imputation

    return torch.from_numpy(noisy_linear_imputation(image.numpy(), np.flatnonzero(removed.numpy()), noise=0.0))


def by_gradcam(image, removed):
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    return road.NoisyLinearImputer(noise=0.0)(image, (~removed).float())


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # pytorch-grad-cam gives tensors to numpy
@pytest.mark.parametrize("impute", [by_mavis, by_quantus, by_gradcam])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("size", [64, 224])
def bench_imputation(benchmark, size, share, impute):
    benchmark.group = f"{share:.0%} of 16 × 16 cells imputed, {size} px"
    image, removed = removal(size, share)
    result = benchmark(impute, image, removed)
    torch.testing.assert_close(result, by_mavis(image, removed), atol=1e-6, rtol=0, check_dtype=False)
