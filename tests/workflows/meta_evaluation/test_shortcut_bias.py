"""M8: credit for smooth, constant or rescaled maps is seen."""

import numpy as np
import pytest
import torch

from mavis.workflows.meta_evaluation import fixtures, shortcut_bias

from .helpers import planted_scores


def test_the_lower_bound_is_two_standard_errors_below_the_mean() -> None:
    """Values 1, 2, 3: mean 2, standard error 1 / √3."""
    assert shortcut_bias.lower_bound(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 - 2 / 3**0.5)


def test_a_constant_map_off_chance_is_seen(bench: fixtures.Bench) -> None:
    """The score of a constant map is the chance value 0 of nsrg on all images."""
    for values, verdict in (([0.0, 0.0, np.nan], "passed"), ([0.0, 0.01, np.nan], "failed")):
        bench.__dict__["faces"] = planted_scores({("constant", "nsrg"): values})
        assert shortcut_bias._constant_map_check(bench, "nsrg").verdict == verdict


def test_changes_are_relative_to_large_scores() -> None:
    """A change of 2 on logits around 10 is .2; on scores below 1 a change is absolute."""
    logits = planted_scores({("oracle", "m"): [10.0, 10.0], ("scaled", "m"): [10.0, 12.0]})
    assert shortcut_bias._largest_change(logits, "scaled", "m") == pytest.approx(0.2)
    shares = planted_scores({("oracle", "m"): [0.5, 0.5], ("scaled", "m"): [0.5, 0.4]})
    assert shortcut_bias._largest_change(shares, "scaled", "m") == pytest.approx(0.1)


def test_the_corner_model_has_exact_contributions() -> None:
    """The map sums to the target's logit and is zero outside the corner."""
    net, images = shortcut_bias.Corner(), torch.rand(2, 3, 16, 16)
    classes = torch.tensor([0, 1])
    values = net.contributions(images, classes)
    torch.testing.assert_close(values.sum((1, 2, 3)), net(images).gather(1, classes[:, None])[:, 0])
    assert values[:, :, 2:].abs().max() == 0


def test_random_maps_off_chance_on_one_part_are_seen() -> None:
    """Ten standard errors on one part fail; the note names the part."""
    values = np.linspace(-1, 1, 40)
    moved = values + 10 * values.std(ddof=1) / 40**0.5
    regions = {part: planted_scores({("random 0", "m"): v}) for part, v in (("nose", values), ("ears", moved))}
    check = shortcut_bias._region_size_check("m", regions, 1)
    assert check.verdict == "failed"
    assert check.value == pytest.approx(10)
    assert "largest on ears" in check.note
    assert shortcut_bias._region_size_check("m", {"nose": regions["nose"]}, 1).verdict == "passed"
