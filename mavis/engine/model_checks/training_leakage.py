"""Were the evaluated images trained on? Each is held against the fingerprints of the model's training images.

Source: protocol S1 and 2.19. A mirrored or newly cropped copy is not recognised.
"""

import pandas as pd

from mavis.core.perceptual_hash import Fingerprints
from mavis.core.types import Model
from mavis.engine.sample import Sample
from mavis.protocol.schema import Protocol

COLUMNS = ["model", "image", "known", "same", "distance"]


def measure_leakage(model: Model, sample: Sample, protocol: Protocol, chunk: int) -> pd.DataFrame:
    """Hash distance of each image to the nearest training image.

    Args:
        model: the model; it is not asked anything.
        sample: the images.
        protocol: nothing is measured without its ``data.leak``.
        chunk: most images at a time.

    Returns:
        ``model, image, known, same, distance``: one row per image; ``known``: whether the training images are;
        ``same``: whether it is one of them; ``distance``: differing bits to the nearest, 256 where they are unknown.
    """
    if protocol.data.leak is None:
        return pd.DataFrame(columns=COLUMNS)
    rows = pd.DataFrame({"image": list(sample.ids)}).assign(
        model=model.name, known=model.training_fingerprints is not None
    )
    if model.training_fingerprints is None:
        return rows.assign(same=False, distance=256)[COLUMNS]
    starts = range(0, len(sample.ids), chunk)
    parts = [Fingerprints.from_images(sample.data.load(sample.ids[start : start + chunk]).images) for start in starts]
    same, distance = Fingerprints.concatenate(parts).nearest_distances(model.training_fingerprints)
    return rows.assign(same=same, distance=distance)[COLUMNS]
