"""Gini index, entropy and other sparseness of maps with closed forms, and that of Quantus."""

import numpy as np
import pytest
import torch
from quantus.metrics.complexity.complexity import Complexity
from quantus.metrics.complexity.effective_complexity import EffectiveComplexity
from quantus.metrics.complexity.sparseness import Sparseness
from scipy import stats

from mavis.core.errors import BadParameter
from mavis.core.registry import metrics

from ..toys import Pooled, make_pass, maps_from_cells, random_images, score

RUN = make_pass(Pooled(), random_images(1))


ALL = ("gini", "entropy", "hoyer", "effective_complexity")


def of(name: str, cells: torch.Tensor, **params: object) -> torch.Tensor:
    return score(name, maps_from_cells(cells, 8), RUN, **params)


@pytest.mark.parametrize("n", [4, 16, 64])
def test_the_extremes(n: int) -> None:
    """One cell with everything: Gini (n−1)/n, entropy 0, Hoyer 1, one cell of n. A constant map: 0, 1, 0, all of n."""
    single_cell = torch.eye(n)[:1] * -3.7
    assert of("gini", single_cell).item() == pytest.approx((n - 1) / n)
    assert of("entropy", single_cell).item() == pytest.approx(0, abs=1e-7)
    assert of("hoyer", single_cell).item() == pytest.approx(1)
    assert of("effective_complexity", single_cell).item() == pytest.approx(1 / n)
    constant = torch.full((1, n), 0.3)
    assert of("gini", constant).item() == pytest.approx(0, abs=1e-7)
    assert of("entropy", constant).item() == pytest.approx(1)
    assert of("hoyer", constant).item() == pytest.approx(0, abs=1e-7)
    assert of("effective_complexity", constant).item() == 1


@pytest.mark.parametrize("n", [4, 16, 64])
def test_cells_one_to_n(n: int) -> None:
    """Gini Σ(2i−n−1)i / (n·Σi) is (n−1)/3n; the entropy is scipy's of the shares, divided by ln n; any order and sign.

    Hoyer: l1 = n(n+1)/2 and l2² = n(n+1)(2n+1)/6, so l1/l2 = √(3n(n+1)/(4n+2)).
    """
    cells = torch.arange(1.0, n + 1)[torch.randperm(n, generator=torch.Generator().manual_seed(0))][None]
    cells[0, ::2] *= -1
    assert of("gini", cells).item() == pytest.approx((n - 1) / (3 * n))
    assert of("entropy", cells).item() == pytest.approx(stats.entropy(np.arange(1, n + 1)) / np.log(n))
    hoyer = (n**0.5 - (3 * n * (n + 1) / (4 * n + 2)) ** 0.5) / (n**0.5 - 1)
    assert of("hoyer", cells).item() == pytest.approx(hoyer)


def test_k_equal_cells_among_zeros() -> None:
    """k of n = 16 cells alike: Gini 1 − k/n, entropy ln k / ln n, Hoyer (√n − √k)/(√n − 1), k of n cells count."""
    for k in (1, 2, 8, 16):
        cells = (torch.arange(16) < k).float()[None] * 0.7
        assert of("gini", cells).item() == pytest.approx(1 - k / 16, abs=1e-7)
        assert of("entropy", cells).item() == pytest.approx(np.log(k) / np.log(16), abs=1e-7)
        assert of("hoyer", cells).item() == pytest.approx((4 - k**0.5) / 3)
        assert of("effective_complexity", cells).item() == pytest.approx(k / 16)


def test_cells_count_above_a_part_of_the_largest() -> None:
    """Of 1, 1/2, 1/4 and 1/8 those above the threshold count, whatever their sign; one that is on it does not."""
    cells = torch.tensor([[1, -0.5, 0.25, -0.125]])
    for threshold, expected in ((0.0, 1.0), (0.1, 1.0), (0.125, 0.75), (0.25, 0.5), (0.3, 0.5), (0.5, 0.25)):
        assert of("effective_complexity", cells, threshold=threshold).item() == expected


def test_the_threshold_is_a_hundred_thousandth_by_default() -> None:
    """Cells of .9e−5 of the largest do not count, cells of 1.1e−5 do."""
    cells = torch.tensor([[1, 0.9e-5, 1.1e-5, 0]])
    assert of("effective_complexity", cells).item() == 0.5


@pytest.mark.parametrize("threshold", [-0.1, 1, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    """Nothing is above the largest."""
    with pytest.raises(BadParameter, match=r"effective_complexity: .* got"):
        metrics["effective_complexity"].create({"threshold": threshold})


def test_a_zero_or_infinite_map_has_the_worst_value() -> None:
    """A map that says nothing is as complex as can be, so it gains nothing."""
    cells = torch.stack([torch.zeros(16), torch.full((16,), torch.nan)])
    assert of("gini", cells).tolist() == [0, 0]
    assert of("entropy", cells).tolist() == [1, 1]
    assert of("hoyer", cells).tolist() == [0, 0]
    assert of("effective_complexity", cells).tolist() == [1, 1]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("name", ALL)
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


def test_effective_complexity_is_quantus_s_count_as_a_share() -> None:
    """Of one map at a time, divided by its maximum as Quantus does by default."""
    cells = torch.randn((30, 16), generator=torch.Generator().manual_seed(1)) ** 9
    shares = cells.abs() / cells.abs().amax(1, keepdim=True)
    reference = EffectiveComplexity(abs=True, normalise=False, disable_warnings=True)
    expected = reference.evaluate_batch(a_batch=shares.numpy().reshape(30, 1, 4, 4))
    assert expected.min() < 16
    np.testing.assert_allclose(of("effective_complexity", cells), expected / 16, atol=1e-5)


def quantus_call(kind: type, cells: torch.Tensor) -> np.ndarray:
    """Quantus's scores of maps of 4 × 4 pixels with its default settings."""
    maps = cells.numpy().reshape(-1, 1, 4, 4).copy()
    data = {"x_batch": np.zeros((len(maps), 3, 4, 4), np.float32), "y_batch": np.zeros(len(maps), int), "a_batch": maps}
    metric = kind(disable_warnings=True, display_progressbar=False)
    return np.asarray(metric(model=Pooled(), **data, device="cpu", channel_first=True))


@pytest.mark.parametrize(("name", "quantus"), [("effective_complexity", EffectiveComplexity), ("gini", Sparseness)])
def test_a_faint_map_does_not_depend_on_the_others(name: str, quantus: type) -> None:
    """Quantus divides all maps of a call by their common maximum, so a map beside a strong one changes its score."""
    cells = torch.rand((2, 16), generator=torch.Generator().manual_seed(1)) + 0.1
    cells[1] *= 1e-7
    together, alone = quantus_call(quantus, cells)[1], quantus_call(quantus, cells[1:])[0]
    assert abs(together - alone) > 0.1
    torch.testing.assert_close(of(name, cells)[1:], of(name, cells[1:]), rtol=0, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_a_nan_map_costs_no_other_image_its_score(name: str) -> None:
    """In Quantus, one NaN makes all sparseness of a call NaN."""
    cells = torch.rand((3, 16), generator=torch.Generator().manual_seed(1))
    broken = cells.clone()
    broken[1, 5] = torch.nan
    with np.errstate(invalid="ignore"):
        assert np.isnan(quantus_call(Sparseness, broken)).all()
    assert torch.equal(of(name, broken)[[0, 2]], of(name, cells)[[0, 2]])
