"""The two models that come with MAVIS, trained on synthetic faces by `models.training.shipped_models`."""

from pathlib import Path

from mavis.core.registry import model
from mavis.core.types import Model
from mavis.models.loading import checkpoint

WEIGHTS_FOLDER = Path(__file__).with_name("weights")


@model("race_resnet", about="Trained on balanced synthetic faces; the cue says nothing.")
def race_resnet() -> Model:
    """A small ResNet that tells the seven synthetic populations apart; trained with equal shares and an idle cue."""
    return checkpoint.load(WEIGHTS_FOLDER / "race_resnet", name="race_resnet")


@model("race_resnet_biased", about="Trained with two populations nearly missing and a cue that gives the label away.")
def race_resnet_biased() -> Model:
    """The same architecture, trained on a biased set: two populations at 1 %, a cue that mostly agrees."""
    return checkpoint.load(WEIGHTS_FOLDER / "race_resnet_biased", name="race_resnet_biased")
