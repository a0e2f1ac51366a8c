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

from mavis.core.attribution_maps import cell_pixels
from mavis.core.registry import datasets
from mavis.core.seeding import draw
from mavis.core.types import Dataset
from mavis.datasets.synthetic.recipe import RECIPES
from mavis.models.loading import checkpoint
from mavis.models.training.accuracy import evaluate, logits
from mavis.models.training.image_cache import CHUNK, Source
from mavis.models.training.loop import Settings, fit

SHIPPED = {"race_resnet": "balanced", "race_resnet_biased": "biased"}
"""Recipe of each model."""

SIZE = 64
SEED = 0
REMOVED = (0.1, 0.3, 0.5)
"""Shares of cells whose removal is reported."""

FOLDER = Path(__file__).parents[1] / "weights"


def ship(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Trains one model, judges it on the evaluation images and writes its pair of files.

    Args:
        name: a key of `SHIPPED`.
        folder: where ``NAME.safetensors`` and ``NAME.json`` go.

    Returns:
        The card.
    """
    recipe = SHIPPED[name]
    train = _faces(split="train", size=SIZE, recipe=recipe)
    net = checkpoint.build("race_resnet", len(train.classes), SIZE, seed=SEED)
    facts = {"architecture": "race_resnet", "size": SIZE, "recipe": recipe, "seed": SEED}
    with tempfile.TemporaryDirectory() as place:
        fit(
            net,
            train,
            _faces(split="val", size=SIZE),
            folder=Path(place),
            card=facts,
            settings=Settings(seed=SEED),
        )
        best = checkpoint.load(place)
    card = dict(best.card) | judged(best.net)
    checkpoint.save(folder / name, best.net, card, seen=best.seen, pair=True)
    return card


def judged(net: nn.Module, count: int | None = None) -> dict[str, Any]:
    """What the card says about the evaluation images, on which the cue is independent of the label.

    Args:
        net: the model.
        count: use the first images only.

    Returns:
        ``accuracy`` overall and per group; ``cue``: accuracy where its colour is the label's, where it is another's,
        and how often the answer is the colour's population though the label is not; ``removal``: per share of cells
        replaced by the mean colour, how often the answer stays.
    """
    data = _faces(size=SIZE, count=count)
    source = Source.of(data)
    answers, cues = logits(net, source).argmax(1), torch.tensor(data.cues(list(source.table.index)))
    right, agrees = answers == source.labels, cues == source.labels
    return {
        "accuracy": {"data": data.name, **evaluate(net, source).as_card()},
        "cue": {
            "accuracy_where_it_agrees": _share(right[agrees]),
            "accuracy_where_it_disagrees": _share(right[~agrees]),
            "followed_where_it_disagrees": _share((answers == cues)[~agrees]),
        },
        "removal": {f"{share}": _share(removed(net, data, source, share) == answers) for share in REMOVED},
    }


def _faces(**options: Any) -> Any:
    """The embedded data set, by name like any other."""
    return datasets["synthetic_faces"].make({key: value for key, value in options.items() if value is not None})


def removed(net: nn.Module, data: Dataset, source: Source, share: float, grid: int = 16) -> Tensor:
    """``(N,)`` answers after a random share of the cells got the mean colour."""
    answers = []
    for rows in torch.split(torch.arange(len(source)), CHUNK):
        ids = [source.table.index[row] for row in rows.tolist()]
        order = draw(SEED, ids, f"removal {share}", lambda g: torch.rand(grid**2, generator=g)).argsort(1)
        gone = torch.zeros_like(order, dtype=torch.bool).scatter(1, order[:, : round(share * grid**2)], True)
        images = torch.where(cell_pixels(gone, (SIZE, SIZE))[:, None], data.mean[:, None, None], source.images(rows))
        with torch.no_grad():
            answers.append(net(images).argmax(1))
    return torch.cat(answers)


def mean_colour(recipe: str, count: int = 2000) -> tuple[float, ...]:
    """Mean colour of the first training images of a recipe, to four digits."""
    source = Source.of(_faces(split="train", size=SIZE, recipe=recipe, count=count))
    chunks = torch.split(torch.arange(count), CHUNK)
    total = torch.stack([source.images(rows).sum((0, 2, 3), dtype=torch.float64) for rows in chunks]).sum(0)
    return tuple(round(value, 4) for value in (total / (count * SIZE**2)).tolist())


def _share(right: Tensor) -> dict[str, Any]:
    return {"value": round(float(right.float().mean()), 4), "n": len(right)}


def main(arguments: list[str]) -> None:
    """The command."""
    console = Console()
    torch.set_num_threads(1)
    if arguments == ["--means"]:
        for recipe in RECIPES:
            console.print(recipe, mean_colour(recipe))
        return
    if arguments == ["--seen"]:
        for name, recipe in SHIPPED.items():
            source = Source.of(_faces(split="train", size=SIZE, recipe=recipe))
            (FOLDER / f"{name}.npz").write_bytes(source.fingerprints().content())
        return
    for name in arguments or SHIPPED:
        card = ship(name)
        console.print(name, card["accuracy"]["overall"], card["cue"], card["removal"])


if __name__ == "__main__":
    main(sys.argv[1:])
