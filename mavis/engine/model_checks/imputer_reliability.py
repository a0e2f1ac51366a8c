"""Does the model still know an image when some of it is removed? Without that, perturbation curves mean little.

Source: the R-OMS score of Blücher et al. 2024, arXiv 2401.06654; protocol 2.1 (d).
Differs: cells of the run's grid; the share of images, not of occlusions, that keep their predicted class.
"""

import pandas as pd
import torch

from mavis.core.metric_types import MaskProbe
from mavis.core.model_pass import Pass
from mavis.core.registry import imputers
from mavis.core.types import Model
from mavis.engine.removal import RemovalSession, removal_counts
from mavis.engine.sample import Sample
from mavis.protocol.schema import Protocol, ReliabilityRules

COLUMNS = ["model", "image", "imputer", "fraction", "kept"]


def measure_reliability(model: Model, sample: Sample, protocol: Protocol, chunk: int) -> pd.DataFrame:
    """Per image, 1 where the predicted class stays when random cells are removed.

    Every imputer and every fraction removes the same cells of an image, a larger fraction some more.

    Args:
        model: the model.
        sample: the images.
        protocol: its ``reliability`` says which imputers and fractions; nothing is measured without it.
        chunk: most samples in one model call.

    Returns:
        ``model, image, imputer, fraction, kept``: one row per image, imputer and fraction; ``kept`` 0.0 or 1.0.
    """
    if protocol.reliability is None:
        return pd.DataFrame(columns=COLUMNS)
    tables = []
    for start in range(0, len(sample.ids), chunk):
        batch = sample.data.load(sample.ids[start : start + chunk]).to(model.device)
        model_pass = Pass(model, batch, sample.data.mean.to(model.device), protocol.seed, chunk)
        scene = RemovalSession(model_pass, model_pass.logits.argmax(1), protocol.grid)
        for imputer in usable_imputers(protocol.reliability, rerender=sample.can_rerender):
            is_kept = (
                scene.probe_outputs(_random_removal(imputer, protocol.reliability.fractions))
                .top1.cpu()
                .double()
                .numpy()
            )
            for index, fraction in enumerate(protocol.reliability.fractions):
                frame = pd.DataFrame({"image": list(model_pass.ids), "kept": is_kept[:, index]})
                tables.append(frame.assign(model=model.name, imputer=imputer, fraction=fraction))
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def reliability_forwards(sample: Sample, protocol: Protocol) -> int:
    """Model samples that `measure_reliability` takes."""
    rules = protocol.reliability
    if rules is None:
        return 0
    return len(sample.ids) * (1 + len(usable_imputers(rules, rerender=sample.can_rerender)) * len(rules.fractions))


def usable_imputers(rules: ReliabilityRules, *, rerender: bool) -> list[str]:
    """The imputers to be measured that these data allow."""
    return [name for name in rules.imputers if rerender or not imputers[name.partition(":")[0]].traits.rerender]


def _random_removal(imputer: str, fractions: tuple[float, ...]) -> MaskProbe:
    """Random cells, the same for every imputer, more of them at every fraction."""

    def masks(run: Pass, cells: int) -> torch.Tensor:
        rank = run.draw("reliability", lambda g: torch.randperm(cells, generator=g))
        counts = removal_counts(torch.tensor([cells]), fractions)[0].to(rank.device)
        return rank[:, None] < counts[:, None]

    return MaskProbe("random cells", imputer, masks)
