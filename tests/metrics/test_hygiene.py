"""Which maps count as maps."""

import torch

from mavis.maps import Maps

from ..toys import Pooled, a_pass, noise, score


def test_only_finite_and_varied_maps_are_valid() -> None:
    """One NaN, one infinity, or one value everywhere: 0. One pixel that differs in the last bit: 1."""
    values = torch.full((5, 4, 4), 0.1)
    values[0, 0, 0] = torch.nan
    values[1, 3, 3] = -torch.inf
    values[3, 1, 1] = torch.nextafter(torch.tensor(0.1), torch.tensor(1.0))
    values[4] = torch.rand((4, 4), generator=torch.Generator().manual_seed(0))
    assert score("valid", Maps.of(values, 2), a_pass(Pooled(), noise(5))).tolist() == [0, 0, 0, 1, 1]
