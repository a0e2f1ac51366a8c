"""Accuracy of a net: counts by hand, overall, per class and per group."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mavis.datasets.planted_square import planted_square
from mavis.models.training.accuracy import AccuracyReport, evaluate_accuracy, predict_logits
from mavis.models.training.image_cache import ImageCache


class CentreBrightness(nn.Module):
    """Says "bright" where the pixel in the middle is brighter than a threshold; right on planted squares at 0.5."""

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold
        self.dropout = nn.Dropout(0.9)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        level = images[:, :, 16, 16].mean(1) - self.threshold
        return self.dropout(torch.stack([level, -level], 1))


@pytest.fixture(scope="module")
def cache() -> ImageCache:
    """Twelve planted squares, six bright and six dark."""
    return ImageCache.from_dataset(planted_square(size=32, count=12))


def test_a_right_net_has_accuracy_one(cache: ImageCache) -> None:
    """In every class and group, with the number of images; its loss is the mean cross entropy."""
    report = evaluate_accuracy(CentreBrightness(), cache)
    assert (report.accuracy, report.balanced_accuracy, report.n_images) == (1, 1, 12)
    assert report.groups == {
        "shade": {"bright": (1.0, 6), "dark": (1.0, 6)},
        "tint": {"left": (1.0, 6), "right": (1.0, 6)},
    }
    logits = CentreBrightness().eval()(cache.images(torch.arange(12)))
    assert report.loss == pytest.approx(float(cross_entropy(logits, cache.labels)))


def test_a_net_that_always_says_dark_is_right_half_of_the_time(cache: ImageCache) -> None:
    """Never for bright squares, always for dark ones."""
    report = evaluate_accuracy(CentreBrightness(threshold=2.0), cache)
    assert (report.accuracy, report.balanced_accuracy) == (0.5, 0.5)
    assert report.groups["shade"] == {"bright": (0.0, 6), "dark": (1.0, 6)}
    assert report.groups["tint"] == {"left": (0.5, 6), "right": (0.5, 6)}


def test_balanced_accuracy_weighs_classes_equally() -> None:
    """Of five images, three bright: always "dark" is right in 2/5, and balanced in 1/2."""
    report = evaluate_accuracy(CentreBrightness(2.0), ImageCache.from_dataset(planted_square(size=32, count=5)))
    assert report.accuracy == pytest.approx(2 / 5)
    assert report.balanced_accuracy == 0.5


def test_a_class_without_image_is_left_out() -> None:
    """One bright image: the mean is over one class, and the group of dark ones has NaN of none."""
    report = evaluate_accuracy(CentreBrightness(), ImageCache.from_dataset(planted_square(size=32, count=1)))
    assert report.balanced_accuracy == 1
    accuracy, n_images = report.groups["shade"]["dark"]
    assert math.isnan(accuracy)
    assert n_images == 0


def test_logits_are_those_in_evaluation_mode(cache: ImageCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout is off, the order is that of the table, and the size of a batch changes nothing."""
    net = CentreBrightness().train()
    logits = predict_logits(net, cache)
    assert not net.training
    level = cache.images(torch.arange(12))[:, :, 16, 16].mean(1) - 0.5
    torch.testing.assert_close(logits, torch.stack([level, -level], 1))
    monkeypatch.setattr("mavis.models.training.accuracy.BATCH_SIZE", 5)
    assert torch.equal(predict_logits(net, cache), logits)


def test_the_card_rounds_and_has_none_for_an_empty_group() -> None:
    """Each share beside its number of images."""
    report = AccuracyReport(0.5, 2 / 3, 0.123456, 3, {"shade": {"bright": (2 / 3, 3), "dark": (math.nan, 0)}})
    assert report.as_card() == {
        "overall": {"value": 0.6667, "n": 3},
        "balanced": 0.1235,
        "groups": {"shade": {"bright": {"value": 0.6667, "n": 3}, "dark": {"value": None, "n": 0}}},
    }
