"""Makes the two models that come with MAVIS: ``python -m mavis.models.training.shipped_models``.

Both are trained on synthetic faces at 64 px, seed 0, on one thread, so that a machine repeats itself bit for bit; other
machines and versions of torch come to the same accuracies within sampling error, not to the same bits. It takes about
ten minutes on two cores. Names of models as arguments make only these; ``--means`` prints the mean colours instead, and
``--seen`` writes only the fingerprints of the training images.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from mavis.core.attribution_maps import cells_to_pixels
from mavis.core.registry import datasets
from mavis.core.seeding import draw_per_image
from mavis.core.types import Dataset
from mavis.datasets.synthetic.recipe import RECIPES
from mavis.models.loading import checkpoint
from mavis.models.training.accuracy import evaluate_accuracy, predict_logits
from mavis.models.training.image_cache import BATCH_SIZE, ImageCache
from mavis.models.training.loop import TrainingSettings, fit

SHIPPED_RECIPES = {"race_resnet": "balanced", "race_resnet_biased": "biased"}
"""Training recipe of each model."""

SIZE = 64
SEED = 0
REMOVED_SHARES = (0.1, 0.3, 0.5)
"""Shares of removed cells for which the card reports the stability of predictions."""

WEIGHTS_FOLDER = Path(__file__).parents[1] / "weights"


def train_shipped_model(name: str, folder: Path = WEIGHTS_FOLDER) -> dict[str, Any]:
    """Trains one model, evaluates it on the evaluation images and writes its pair of files.

    Args:
        name: a key of `SHIPPED_RECIPES`.
        folder: where ``NAME.safetensors`` and ``NAME.json`` go.

    Returns:
        The card.
    """
    recipe = SHIPPED_RECIPES[name]
    train = _synthetic_faces(split="train", size=SIZE, recipe=recipe)
    net = checkpoint.build_network("race_resnet", len(train.classes), SIZE, seed=SEED)
    facts = {"architecture": "race_resnet", "size": SIZE, "recipe": recipe, "seed": SEED}
    with tempfile.TemporaryDirectory() as directory:
        fit(
            net,
            train,
            _synthetic_faces(split="val", size=SIZE),
            folder=Path(directory),
            card=facts,
            settings=TrainingSettings(seed=SEED),
        )
        best = checkpoint.load(directory)
    card = dict(best.card) | evaluation_facts(best.net)
    checkpoint.save(folder / name, best.net, card, fingerprints=best.training_fingerprints, as_pair=True)
    return card


def evaluation_facts(net: nn.Module, n_images: int | None = None) -> dict[str, Any]:
    """Results on the evaluation images, on which the cue is independent of the label, for the card.

    Args:
        net: the model.
        n_images: use the first images only.

    Returns:
        ``accuracy`` overall and per group; ``cue``: accuracy where its colour is the label's, where it is another's,
        and the share of the latter images classified as the colour's population; ``removal``: per share of cells
        replaced by the mean colour, the share of unchanged predictions.
    """
    data = _synthetic_faces(size=SIZE, count=n_images)
    images = ImageCache.from_dataset(data)
    predictions, cues = predict_logits(net, images).argmax(1), torch.tensor(data.cues(list(images.table.index)))
    is_correct, agrees = predictions == images.labels, cues == images.labels
    return {
        "accuracy": {"data": data.name, **evaluate_accuracy(net, images).as_card()},
        "cue": {
            "accuracy_where_it_agrees": _share(is_correct[agrees]),
            "accuracy_where_it_disagrees": _share(is_correct[~agrees]),
            "followed_where_it_disagrees": _share((predictions == cues)[~agrees]),
        },
        "removal": {
            f"{share}": _share(predictions_after_removal(net, data, images, share) == predictions)
            for share in REMOVED_SHARES
        },
    }


def _synthetic_faces(**options: Any) -> Any:
    """The embedded data set, by its registered name: nothing imports a plug-in."""
    return datasets["synthetic_faces"].create({key: value for key, value in options.items() if value is not None})


def predictions_after_removal(net: nn.Module, data: Dataset, cache: ImageCache, share: float, grid: int = 16) -> Tensor:
    """``(N,)`` predictions after a random share of the cells got the mean colour."""
    predictions = []
    for rows in torch.split(torch.arange(len(cache)), BATCH_SIZE):
        ids = [cache.table.index[row] for row in rows.tolist()]
        order = draw_per_image(SEED, ids, f"removal {share}", lambda g: torch.rand(grid**2, generator=g)).argsort(1)
        is_removed = torch.zeros_like(order, dtype=torch.bool).scatter(1, order[:, : round(share * grid**2)], True)
        images = torch.where(
            cells_to_pixels(is_removed, (SIZE, SIZE))[:, None], data.mean[:, None, None], cache.images(rows)
        )
        with torch.no_grad():
            predictions.append(net(images).argmax(1))
    return torch.cat(predictions)


def recipe_mean_colour(recipe: str, n_images: int = 2000) -> tuple[float, ...]:
    """Mean colour of the first training images of a recipe, to four digits."""
    source = ImageCache.from_dataset(_synthetic_faces(split="train", size=SIZE, recipe=recipe, count=n_images))
    chunks = torch.split(torch.arange(n_images), BATCH_SIZE)
    total = torch.stack([source.images(rows).sum((0, 2, 3), dtype=torch.float64) for rows in chunks]).sum(0)
    return tuple(round(value, 4) for value in (total / (n_images * SIZE**2)).tolist())


def _share(is_correct: Tensor) -> dict[str, Any]:
    return {"value": round(float(is_correct.float().mean()), 4), "n": len(is_correct)}


def main(arguments: list[str]) -> None:
    """Runs the command with its arguments."""
    console = Console()
    torch.set_num_threads(1)
    if arguments == ["--means"]:
        for recipe in RECIPES:
            console.print(recipe, recipe_mean_colour(recipe))
        return
    if arguments == ["--seen"]:
        for name, recipe in SHIPPED_RECIPES.items():
            source = ImageCache.from_dataset(_synthetic_faces(split="train", size=SIZE, recipe=recipe))
            (WEIGHTS_FOLDER / f"{name}.npz").write_bytes(source.fingerprints().to_bytes())
        return
    for name in arguments or SHIPPED_RECIPES:
        card = train_shipped_model(name)
        console.print(name, card["accuracy"]["overall"], card["cue"], card["removal"])


if __name__ == "__main__":
    main(sys.argv[1:])
