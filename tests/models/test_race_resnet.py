"""The shipped models: small, whole, and as good and as biased as their cards say."""

from functools import cache
from pathlib import Path

import pytest
import torch
from scipy.stats import binomtest

from mavis.core.hashing import digest_file
from mavis.core.types import Model
from mavis.datasets.synthetic.parameters import LABEL_PARTS, PART_SAMPLERS
from mavis.datasets.synthetic_faces import synthetic_faces
from mavis.models.race_resnet import WEIGHTS_FOLDER, race_resnet, race_resnet_biased
from mavis.models.training.accuracy import predict_logits
from mavis.models.training.image_cache import ImageCache
from mavis.models.training.shipped_models import SHIPPED_RECIPES, predictions_after_removal

MODELS = {"race_resnet": race_resnet, "race_resnet_biased": race_resnet_biased}
COUNT = 300


@cache
def loaded(name: str) -> Model:
    """Each model once."""
    return MODELS[name]()


@cache
def images() -> ImageCache:
    """The first evaluation images."""
    return ImageCache.from_dataset(synthetic_faces(count=COUNT))


@cache
def answers(name: str) -> torch.Tensor:
    """``(COUNT,)`` classes that a model gives."""
    return predict_logits(loaded(name).net, images()).argmax(1)


def within_error(right: torch.Tensor, value: float) -> bool:
    """The share of right answers is compatible with this value, one time in ten thousand by chance."""
    return binomtest(int(right.sum()), len(right), value).pvalue > 1e-4


@pytest.mark.parametrize("name", list(MODELS))
def test_the_files_are_small_and_belong_together(name: str) -> None:
    """At most 2 MB, and the hash in the card is that of the weights."""
    weights = Path(WEIGHTS_FOLDER / f"{name}.safetensors")
    assert weights.stat().st_size <= 2_000_000
    card = loaded(name).card
    assert card["weights_hash"] == digest_file(weights)
    assert (card["recipe"], card["target"], card["size"]) == (SHIPPED_RECIPES[name], "race", 64)


@pytest.mark.parametrize("name", list(MODELS))
def test_they_were_trained_on_the_faces_that_are_drawn_now(name: str) -> None:
    """The hash of the training data in the card is that of the data set as it stands."""
    train = synthetic_faces(split="train", recipe=SHIPPED_RECIPES[name])
    assert loaded(name).card["data"]["hash"] == train.revision(list(train.table().index))


@pytest.mark.parametrize("name", list(MODELS))
def test_the_cards_accuracy_is_found_again(name: str) -> None:
    """Overall and for every population, on the first evaluation images, within binomial error."""
    right, card = answers(name) == images().labels, loaded(name).card["accuracy"]
    assert within_error(right, card["overall"]["value"])
    for label, group in enumerate(loaded(name).classes):
        assert within_error(right[images().labels == label], card["groups"]["race"][group]["value"])


def test_the_balanced_model_is_right_about_19_times_in_20_for_every_population() -> None:
    """93 to 97 % overall, 88 to 99 % for each population, by the card's 2,100 images."""
    accuracy = loaded("race_resnet").card["accuracy"]
    assert accuracy["overall"]["n"] == 2100
    assert 0.93 <= accuracy["overall"]["value"] <= 0.97
    for share in accuracy["groups"]["race"].values():
        assert 0.88 <= share["value"] <= 0.99


def test_the_balanced_model_does_not_follow_the_cue() -> None:
    """It is as good where the cue agrees as where it does not."""
    cue = loaded("race_resnet").card["cue"]
    assert abs(cue["accuracy_where_it_agrees"]["value"] - cue["accuracy_where_it_disagrees"]["value"]) < 0.04


def test_the_biased_model_fails_the_rare_populations_and_follows_the_cue() -> None:
    """The two rare populations are behind all others; agreement of the cue makes a difference, by the card."""
    card = loaded("race_resnet_biased").card
    shares = {name: share["value"] for name, share in card["accuracy"]["groups"]["race"].items()}
    rare = {"cedar", "hazel"}
    assert max(shares[name] for name in rare) < min(share for name, share in shares.items() if name not in rare) - 0.05
    assert card["cue"]["accuracy_where_it_agrees"]["value"] > card["cue"]["accuracy_where_it_disagrees"]["value"] + 0.1
    assert card["cue"]["followed_where_it_disagrees"]["value"] > 0.08  # errors evenly spread would give 0.03


def test_a_redrawn_cue_moves_the_biased_model_only() -> None:
    """The planted truth: another colour of the patch moves the biased probabilities, hardly the balanced ones."""
    batch = images().dataset.load(list(images().table.index[:100]))
    moved = {}
    with torch.no_grad():
        for name in MODELS:
            before, after = (loaded(name).net(x).softmax(1) for x in (batch.images, batch.rerender("cue", 1)))
            moved[name] = float((before - after).abs().sum(1).mean() / 2)
    assert moved["race_resnet"] < 0.02
    assert moved["race_resnet_biased"] > 0.1


def test_the_balanced_model_reads_the_parts_that_carry_the_label() -> None:
    """The planted truth: eyes, nose and mouth drawn anew change its answers often, any other part seldom."""
    batch = images().dataset.load(list(images().table.index[:100]))
    changed = {}
    with torch.no_grad():
        net = loaded("race_resnet").net
        answers_now = net(batch.images).argmax(1)
        for part in PART_SAMPLERS:
            changed[part] = float((net(batch.rerender(part, 0)).argmax(1) != answers_now).float().mean())
    carrying = set(LABEL_PARTS["race"])
    assert min(changed[part] for part in carrying) > 0.25
    assert max(share for part, share in changed.items() if part not in carrying) < 0.12


@pytest.mark.parametrize("name", list(MODELS))
def test_answers_survive_the_removal_of_cells_as_the_card_says(name: str) -> None:
    """Top-1 agreement after 10 % of the cells are gone, within binomial error."""
    same = predictions_after_removal(loaded(name).net, images().dataset, images(), 0.1) == answers(name)
    assert within_error(same, loaded(name).card["removal"]["0.1"]["value"])
