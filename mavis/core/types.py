"""Data types of MAVIS: batches of images, data sets, models, reference images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import pandas as pd
import torch
from torch import Tensor, nn

from mavis.core.hashing import digest
from mavis.core.perceptual_hash import Fingerprints

Capability = Literal["forward", "gradient", "activations", "weights"]
"""Operations that a model may support."""

OutputKind = Literal[
    "logits", "log_probabilities", "probabilities", "percent", "one_logit", "one_probability", "sigmoids"
]
"""Meanings of a network's outputs: one number per class, or one for the second of two classes."""

WHITE_BOX: frozenset[Capability] = frozenset({"forward", "gradient", "activations", "weights"})

PART_CODES: Mapping[str, int] = {
    "background": 0,
    "hair": 1,
    "skin": 2,
    "brows": 3,
    "eyes": 4,
    "nose": 5,
    "mouth": 6,
    "ears": 7,
    "accessory": 8,
    "cue": 9,
}
"""Code of each face part in ``Batch.parts``."""


@dataclass(frozen=True)
class Batch:
    """Images with labels, groups and planted truth.

    Attributes:
        images: ``(B,3,H,W)`` float32 in [0,1].
        labels: ``(B,)`` int64, index into the data set's classes.
        ids: B strings, unique in the data set.
        groups: per attribute, B group names.
        parts: ``(B,H,W)`` uint8 of `PART_CODES`, or None.
        regions: ``(B,H,W)`` bool, true for pixels that determine the label, or None.
        rerender: ``(part, draw) -> (B,3,H,W)``, the same images with another value of one part, or None.
    """

    images: Tensor
    labels: Tensor
    ids: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parts: Tensor | None = None
    regions: Tensor | None = None
    rerender: Callable[[str, int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on ``device``."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device),
            parts=move(self.parts),
            regions=move(self.regions),
        )

    def hflip(self) -> "Batch":
        """The mirrored batch, with parts and regions mirrored."""

        def mirror(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.flip(-1)

        rerender = self.rerender
        return replace(
            self,
            images=self.images.flip(-1),
            parts=mirror(self.parts),
            regions=mirror(self.regions),
            rerender=None if rerender is None else lambda part, number: rerender(part, number).flip(-1),
        )

    def single_image(self, row: int) -> "Batch":
        """The batch of one image."""
        return self.select(slice(row, row + 1))

    def select(self, rows: slice) -> "Batch":
        """The batch of the images in ``rows``."""

        def select_rows(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[rows]

        rerender = self.rerender
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            ids=self.ids[rows],
            groups={attribute: names[rows] for attribute, names in self.groups.items()},
            parts=select_rows(self.parts),
            regions=select_rows(self.regions),
            rerender=None if rerender is None else lambda part, number: rerender(part, number)[rows],
        )


@dataclass(frozen=True)
class ReferenceImages:
    """Other images of the data set, the same for every batch, as baselines and for comparison.

    Attributes:
        images: ``(R,3,H,W)`` float32 in [0,1], balanced over the groups of the first attribute.
        ids: R strings; an image that is being explained may be among them.
    """

    images: Tensor
    ids: tuple[str, ...]


class Dataset(Protocol):
    """Labelled images with group annotations.

    The members without a default are required. A subclass inherits the defaults of the others; a data set that is no
    subclass gets them where MAVIS opens it (`mavis.datasets.loading.checked_data`), which also checks all of them.

    Attributes:
        name: as registered, with its options if any.
        target: the attribute that is the label, e.g. ``"race"``.
        classes: names of the label's values; a label is an index into them.
        attributes: per group attribute its group names, in the order in which they are to be shown.
        mean: ``(3,)`` float32 in [0,1], the data set's mean colour: a constant of the data set, whatever is sampled
            from it. A ``functools.cached_property`` where it is expensive to compute.
        provenance: one sentence on who assigned the labels and how.
        notes: one sentence each on rows that were repaired or left out; printed in the report.
        identity: the column of `table` that names the person shown, if the data have one. A protocol that clusters
            images by person names this column as its ``data.identity``.
        has_parts: true where batches carry face parts (`Batch.parts`).
    """

    name: str
    target: str
    classes: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]
    mean: Tensor
    provenance: str
    notes: tuple[str, ...] = ()
    identity: str | None = None
    has_parts: bool = False

    def table(self) -> pd.DataFrame:
        """One row per image: ``id`` (index, unique texts), ``label`` (int), a column per group attribute.

        A group is a text, or becomes one; None, NaN or a blank says that the image has none. Decodes nothing.
        """
        ...

    def load(self, ids: Sequence[str]) -> Batch:
        """The images of these ids, in this order."""
        ...

    def unreadable(self, ids: Sequence[str]) -> Mapping[str, str]:
        """The ids that cannot be loaded, each with its reason."""
        ...

    def revision(self, ids: Sequence[str]) -> str:
        """Hash of the content (pixels, labels, groups) of these images."""
        ...

    def cues(self, ids: Sequence[str]) -> Sequence[int] | None:  # noqa: ARG002
        """Per image the class that its planted cue speaks for, -1 without one; None where the data carry no cues."""
        return None

    def content_hashes(self, ids: Sequence[str]) -> Sequence[str]:
        """Per image a hash by which equal images under several ids are noticed; by default of the pixels."""
        return [digest(image.numpy().tobytes()) for image in self.load(ids).images.cpu()]


@dataclass(frozen=True)
class Model:
    """A classifier.

    Attributes:
        name: name as registered, or the folder it was loaded from.
        net: images ``(B,3,H,W)`` float32 in [0,1] -> logits ``(B,K)``; normalisation inside.
        classes: K names, in the order of the logits.
        revision: content hash of architecture and weights.
        cam_layer: dotted name of the module whose output ``(B,C,h,w)`` CAM methods read, or None.
        image_layers: dotted names of all modules whose output has places of the image, as preparation measures them;
            None where it has not.
        capabilities: operations that it supports.
        size: side of the square images it was trained on, or None if it takes any size.
        output: output that perturbation curves are computed on: the softmax probability, or the logit itself, which
            then is taken as it is.
        output_kind: meaning of what ``net`` returns; None: it is measured before a run, and logits are made of it.
        card: model card: recipe, seed, training data, accuracy per group.
        training_fingerprints: fingerprints of its training images, or None if unknown.
    """

    name: str
    net: nn.Module
    classes: tuple[str, ...]
    revision: str
    cam_layer: str | None = None
    capabilities: frozenset[Capability] = WHITE_BOX
    image_layers: frozenset[str] | None = field(default=None, repr=False, kw_only=True)
    size: int | None = None
    output: Literal["softmax", "logit"] = "softmax"
    output_kind: OutputKind | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    training_fingerprints: Fingerprints | None = field(default=None, repr=False, compare=False)

    @property
    def device(self) -> torch.device:
        """Device of the weights; the CPU for a model without any."""
        tensor: Tensor | None = next(self.net.parameters(), None)
        tensor = next(self.net.buffers(), None) if tensor is None else tensor
        return torch.device("cpu") if tensor is None else tensor.device
