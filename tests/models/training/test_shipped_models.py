"""The command that makes the shipped models."""

import torch
from torch import nn

from mavis.datasets.synthetic.drawing import CUE_COLOURS
from mavis.datasets.synthetic_faces import MEAN_COLOURS, synthetic_faces
from mavis.models.training.image_cache import ImageCache
from mavis.models.training.shipped_models import evaluation_facts, predictions_after_removal, recipe_mean_colour


class CueReader(nn.Module):
    """Answers the population whose colour is nearest to that of the patch in the corner."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patch = images[:, :, 56:58, 56:58].mean((2, 3))
        return -torch.cdist(patch, torch.tensor(CUE_COLOURS))


def test_a_net_that_reads_the_cue_is_found_out() -> None:
    """Right whenever the cue agrees, never where it does not, and following it always."""
    card = evaluation_facts(CueReader(), n_images=200)
    assert card["cue"]["accuracy_where_it_agrees"]["value"] == 1
    assert card["cue"]["accuracy_where_it_disagrees"]["value"] == 0
    assert card["cue"]["followed_where_it_disagrees"]["value"] == 1
    assert card["accuracy"]["overall"]["n"] == 200


class Ink(nn.Module):
    """Logit 0: the share of pixels that have the data set's mean colour; logit 1: one third."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = synthetic_faces().mean[:, None, None]
        share = ((images - mean).abs() < 1e-6).all(1).float().mean((1, 2))
        return torch.stack([share, torch.full_like(share, 1 / 3)], 1)


def test_removal_takes_the_stated_share() -> None:
    """At 30 % fewer than a third of the pixels have the mean colour, at 50 % more."""
    data = synthetic_faces(count=6)
    source = ImageCache.from_dataset(data)
    assert predictions_after_removal(Ink(), data, source, 0.3).tolist() == [1] * 6
    assert predictions_after_removal(Ink(), data, source, 0.5).tolist() == [0] * 6


def test_the_mean_colour_is_that_of_the_pixels() -> None:
    """Averaged over images and pixels, near the stored constant."""
    source = ImageCache.from_dataset(synthetic_faces(split="train", count=30))
    found = source.images(torch.arange(30)).double().mean((0, 2, 3))
    computed = torch.tensor(recipe_mean_colour("balanced", n_images=30), dtype=torch.float64)
    assert torch.allclose(found, computed, atol=6e-5)
    assert torch.allclose(computed, torch.tensor(MEAN_COLOURS["balanced"], dtype=torch.float64), atol=0.05)
