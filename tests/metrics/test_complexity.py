"""Gini index and entropy of maps with closed forms, and those of Quantus."""

import numpy as np
import pytest
import torch
from quantus.metrics.complexity.complexity import Complexity
from quantus.metrics.complexity.sparseness import Sparseness
from scipy import stats

from ..toys import Pooled, a_pass, maps_of_cells, noise, score

RUN = a_pass(Pooled(), noise(1))


def of(name: str, cells: torch.Tensor) -> torch.Tensor:
    return score(name, maps_of_cells(cells, 8), RUN)


@pytest.mark.parametrize("n", [4, 16, 64])
def test_the_extremes(n: int) -> None:
    """One cell with everything: Gini (n−1)/n, entropy 0. A constant map: Gini 0, entropy 1."""
    one = torch.eye(n)[:1] * -3.7
    assert of("gini", one).item() == pytest.approx((n - 1) / n)
    assert of("entropy", one).item() == pytest.approx(0, abs=1e-7)
    constant = torch.full((1, n), 0.3)
    assert of("gini", constant).item() == pytest.approx(0, abs=1e-7)
    assert of("entropy", constant).item() == pytest.approx(1)


@pytest.mark.parametrize("n", [4, 16, 64])
def test_cells_one_to_n(n: int) -> None:
    """Σ(2i−n−1)i / (n·Σi) is (n−1)/3n; the entropy is scipy's of the shares, divided by ln n; any order, any sign."""
    cells = torch.arange(1.0, n + 1)[torch.randperm(n, generator=torch.Generator().manual_seed(0))][None]
    cells[0, ::2] *= -1
    assert of("gini", cells).item() == pytest.approx((n - 1) / (3 * n))
    assert of("entropy", cells).item() == pytest.approx(stats.entropy(np.arange(1, n + 1)) / np.log(n))


def test_k_equal_cells_among_zeros() -> None:
    """k of n cells alike: Gini 1 − k/n, entropy ln k / ln n."""
    for k in (1, 2, 8, 16):
        cells = (torch.arange(16) < k).float()[None] * 0.7
        assert of("gini", cells).item() == pytest.approx(1 - k / 16, abs=1e-7)
        assert of("entropy", cells).item() == pytest.approx(np.log(k) / np.log(16), abs=1e-7)


def test_a_zero_or_infinite_map_has_the_worst_value() -> None:
    """A map that says nothing is as complex as can be, so it gains nothing."""
    cells = torch.stack([torch.zeros(16), torch.full((16,), torch.nan)])
    assert of("gini", cells).tolist() == [0, 0]
    assert of("entropy", cells).tolist() == [1, 1]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("name", ["gini", "entropy"])
def test_the_scale_does_not_matter(name: str, scale: float) -> None:
    """A map times any number is as sparse as the map."""
    cells = torch.randn((5, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(of(name, cells * -scale), of(name, cells))


def test_gini_is_quantus_s_sparseness() -> None:
    """On absolute cell values, not normalised."""
    cells = torch.randn((30, 16), generator=torch.Generator().manual_seed(1))
    array = cells.abs().numpy().reshape(30, 1, 4, 4).copy()
    reference = Sparseness(abs=True, normalise=False, disable_warnings=True)
    expected = reference.evaluate_batch(x_batch=array, a_batch=array.copy())
    np.testing.assert_allclose(of("gini", cells), expected, atol=1e-5)


def test_entropy_is_quantus_s_complexity_over_ln_n() -> None:
    """Quantus does not divide by the largest entropy there is; MAVIS does."""
    cells = torch.randn((30, 16), generator=torch.Generator().manual_seed(1))
    array = cells.abs().numpy().reshape(30, 1, 4, 4).copy()
    reference = Complexity(abs=True, normalise=False, disable_warnings=True)
    expected = reference.evaluate_batch(x_batch=array, a_batch=array.copy())
    np.testing.assert_allclose(of("entropy", cells), expected / np.log(16), atol=1e-5)
