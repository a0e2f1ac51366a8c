"""An image with its map, as the gallery shows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tile:
    """One explainer's map of one image.

    Attributes:
        model: which model was explained.
        explainer: which explainer made the map.
        role: method, control, oracle or reference.
        image_id: id in the data set.
        groups: the image's group per attribute; annotations.
        label: the annotated class.
        predicted: the class that the model predicts.
        probability: the model's probability of the explained class, in [0,1].
        image: ``(H,W,3)`` uint8.
        map: ``(H,W)`` float32, signed, in the explainer's own unit.
    """

    model: str
    explainer: str
    role: Literal["method", "control", "oracle", "reference"]
    image_id: str
    groups: Mapping[str, str]
    label: str
    predicted: str
    probability: float
    image: NDArray[np.uint8]
    map: NDArray[np.float32]
