"""Agreement of two maps equals counting by hand and full enumeration of ties."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from mavis.engine.execution.map_agreement import pairwise_agreement

from ...toys import maps_from_cells

MEASURES = ("feature", "rank", "sign", "spearman")


def agreement_of(a: Tensor, b: Tensor, top: float) -> dict[str, float]:
    """Agreement of two rows of cell values."""
    agreement = pairwise_agreement({"a": maps_from_cells(a[None]), "b": maps_from_cells(b[None])}, top)["a", "b"]
    return {measure: values.item() for measure, values in agreement.items()}


def counted(a: np.ndarray, b: np.ndarray, k: int) -> dict[str, float]:
    """Agreement of two rankings of cells given as orders from the largest absolute value, by plain counting."""
    order_a, order_b = np.argsort(-np.abs(a), kind="stable"), np.argsort(-np.abs(b), kind="stable")
    common = set(order_a[:k]) & set(order_b[:k])
    return {
        "feature": len(common) / k,
        "rank": sum(order_a[r] == order_b[r] for r in range(k)) / k,
        "sign": sum(np.sign(a[c]) == np.sign(b[c]) for c in common) / k,
        "spearman": stats.spearmanr(a, b).statistic,
    }


@pytest.mark.parametrize("k", [1, 4, 16])
def test_maps_without_ties_are_counted(k: int) -> None:
    """Top cells in both maps, at one rank and of one sign, over k; and scipy's Spearman over all cells."""
    a, b = torch.randn((2, 16), generator=torch.Generator().manual_seed(k))
    b = 0.6 * a + 0.6 * b
    assert agreement_of(a, b, k / 16) == pytest.approx(counted(a.numpy(), b.numpy(), k), abs=1e-6)


def test_by_hand() -> None:
    """Two of three top cells in common, one of them at the same rank, one of them with the same sign."""
    a = torch.tensor([9.0, -8.0, 7.0, 1.0])
    b = torch.tensor([5.0, 0.1, -4.0, 6.0])
    agreement = agreement_of(a, b, 0.75)
    assert (agreement["feature"], agreement["rank"], agreement["sign"]) == pytest.approx((2 / 3, 1 / 3, 1 / 3))


def test_ties_score_the_mean_over_all_their_orders() -> None:
    """With equal values in both maps every way to break the ties is counted, and the mean is what comes out."""
    a = torch.tensor([2.0, 1.0, 1.0, 1.0])
    b = torch.tensor([1.0, 1.0, 3.0, -3.0])
    agreements = []
    for first, second in itertools.product(itertools.permutations(range(4)), repeat=2):
        broken_a = a.sign() * (a.abs() + 1e-3 * torch.tensor(first))
        broken_b = b.sign() * (b.abs() + 1e-3 * torch.tensor(second))
        agreements.append(counted(broken_a.numpy(), broken_b.numpy(), 2))
    agreement = agreement_of(a, b, 0.5)
    for measure in ("feature", "rank", "sign"):
        assert agreement[measure] == pytest.approx(np.mean([measures[measure] for measures in agreements]), abs=1e-6), (
            measure
        )


def test_a_map_agrees_with_itself_and_not_with_its_negative() -> None:
    """Everything is 1 with itself; the negative has the same cells and ranks, no sign and Spearman −1."""
    a = torch.randn(16, generator=torch.Generator().manual_seed(1))
    assert agreement_of(a, a, 0.25) == pytest.approx(dict.fromkeys(MEASURES, 1.0))
    assert agreement_of(a, -a, 0.25) == pytest.approx({"feature": 1.0, "rank": 1.0, "sign": 0.0, "spearman": -1.0})


def test_maps_that_are_none_agree_with_nothing() -> None:
    """Constant, NaN and infinite maps have no agreement; the other images of the batch keep theirs."""
    good = torch.randn((4, 4), generator=torch.Generator().manual_seed(2))
    bad = good.clone()
    bad[1], bad[2, 0], bad[3, 0] = 0.5, torch.nan, torch.inf
    agreement = pairwise_agreement({"a": maps_from_cells(good), "b": maps_from_cells(bad)}, 0.5)["a", "b"]
    for values in agreement.values():
        assert values.isnan().tolist() == [False, True, True, True]
