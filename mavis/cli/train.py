"""mavis train: trains a classifier on a data set."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from mavis.models.training.loop import Epoch
    from mavis.report.console.terminal import Listing, Printer


def train_command(
    *,
    data: Annotated[str, typer.Option(help="Data set: NAME or NAME:FOLDER, e.g. fairface:FOLDER.")],
    out: Annotated[Path, typer.Option(help="Folder of the model; created if missing.")],
    arch: Annotated[str, typer.Option(help="Architecture.")] = "race_resnet",
    target: Annotated[str, typer.Option(help="Label to predict: race, gender or age.")] = "race",
    size: Annotated[int, typer.Option(min=32, help="Side of the images in pixels.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per training step.")] = 64,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak learning rate.")] = 3e-3,
    seed: Annotated[int, typer.Option(help="Random seed of weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:N or mps.")] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of images per split.")] = None,
    training_recipe: Annotated[
        str | None,
        typer.Option("--training-recipe", "--recipe", help="Population of synthetic_faces: balanced or biased."),
    ] = None,
    pretrained: Annotated[
        Path | None,
        typer.Option(
            help="Above 112 px: file of ResNet-50 weights (default: the one in torch's cache folder, if any)."
        ),
    ] = None,
) -> None:
    """Train a classifier and keep its best epoch by balanced validation accuracy."""
    from mavis.core.devices import resolve
    from mavis.datasets.loading.open import open_data
    from mavis.models.loading import checkpoint
    from mavis.models.training.loop import LOG_FILE, TrainingSettings, fit
    from mavis.report.console.terminal import open_printer

    printer = open_printer()
    splits = [
        open_data(data, target=target, split=split, size=size, recipe=training_recipe) for split in ("train", "val")
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net = checkpoint.build_network(arch, len(splits[0].classes), size, seed=seed, pretrained=pretrained or True)
    for warning in caught:
        printer.print_text(str(warning.message), "yellow")
    card: dict[str, Any] = {"architecture": arch, "size": size, "seed": seed, "recipe": training_recipe}
    card["pretrained"] = getattr(net, "pretrained", None)
    with progress_bar(printer) as (on_step, on_epoch):
        best = fit(
            net,
            splits[0],
            splits[1],
            folder=out,
            card=card,
            settings=TrainingSettings(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed),
            device=resolve(device),
            max_images=limit,
            on_step=on_step,
            on_epoch=on_epoch,
            on_warning=lambda text: printer.print_text(text, "yellow"),
        )
    printer.print_listing(accuracy_listing(best))
    printer.print_line(f"Best epoch {best.number}; the model is in {out}, its history in {LOG_FILE}.")
    printer.print_line(f"Next: mavis run --model {printer.quote(out)} --data {printer.quote(data)}")


@contextmanager
def progress_bar(printer: "Printer") -> Iterator[tuple[Any, Any]]:
    """A progress bar, as the two callbacks that advance it: per step and per epoch."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=printer.console) as progress:
        bar = progress.add_task("loading images", total=None)

        def on_step(done: int, total: int) -> None:
            progress.update(bar, description="training", completed=done, total=total)

        def on_epoch(epoch: "Epoch") -> None:
            printer.print_text(
                f"epoch {epoch.number}: loss {epoch.train_loss:.3f}, validation loss {epoch.validation.loss:.3f}, "
                f"accuracy {epoch.validation.accuracy:.1%}, balanced "
                f"{epoch.validation.balanced_accuracy:.1%}{', best' if epoch.is_best else ''}"
            )

        yield on_step, on_epoch


def accuracy_listing(epoch: "Epoch") -> "Listing":
    """Validation accuracy of every group, with its number of images."""
    from mavis.report.console.terminal import Listing

    rows, section_ends = [("all", "", str(epoch.validation.n_images), f"{epoch.validation.accuracy:.1%}")], {0}
    for attribute, groups in epoch.validation.groups.items():
        rows += [(attribute, group, str(n), f"{accuracy:.1%}" if n else "") for group, (accuracy, n) in groups.items()]
        section_ends.add(len(rows) - 1)
    return Listing(
        ("attribute", "group", "n", "accuracy"),
        rows,
        title="Validation accuracy at the best epoch",
        numeric=frozenset({"n", "accuracy"}),
        section_ends=frozenset(section_ends),
    )
