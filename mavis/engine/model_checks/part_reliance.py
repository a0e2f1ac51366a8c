"""Reliance on face parts: the change of the logit when one part is drawn anew and the rest is kept.

Source: protocol S1 (reliance test); rendered interventions after Hesse et al. 2023 (FunnyBirds), arXiv 2308.06248.
"""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from mavis.core.model_pass import Pass
from mavis.core.types import PART_CODES, Batch, Model
from mavis.engine.sample import Sample
from mavis.protocol.schema import Protocol

COLUMNS = ["model", "image", "part", "change"]


def measure_reliance(model: Model, sample: Sample, protocol: Protocol, chunk: int) -> pd.DataFrame:
    """Absolute change of the explained class's logit when a part is drawn anew.

    It is measured on the images on which maps are made again, ``variants.per_group`` of them.

    Args:
        model: the model.
        sample: the images.
        protocol: its ``reliance`` says how often; nothing is measured without it.
        chunk: most samples in one model call.

    Returns:
        ``model, image, part, change``: one row per image and part; the absolute change, mean over the draws. Empty
        where the data cannot be drawn anew.
    """
    if protocol.reliance is None or not sample.can_rerender:
        return pd.DataFrame(columns=COLUMNS)
    ids, tables = [i for i in sample.ids if i in sample.variant_ids], []
    for start in range(0, len(ids), chunk):
        batch = sample.data.load(ids[start : start + chunk]).to(model.device)
        model_pass = Pass(model, batch, sample.data.mean.to(model.device), protocol.seed, chunk)
        logits = model_pass.predict(model_pass.images)
        targets = batch.labels if protocol.target.policy == "label" else logits.argmax(1)
        for part in PART_CODES:
            change = (
                _mean_logit_change(model_pass, logits, targets, part, protocol.reliance.draws).cpu().double().numpy()
            )
            tables.append(pd.DataFrame({"image": list(model_pass.ids), "part": part, "change": change}))
    return pd.concat(tables, ignore_index=True).assign(model=model.name)[COLUMNS]


def reliance_forwards(sample: Sample, protocol: Protocol) -> int:
    """Model samples that `measure_reliance` takes."""
    if protocol.reliance is None or not sample.can_rerender:
        return 0
    return len(sample.variant_ids) * (1 + len(PART_CODES) * protocol.reliance.draws)


def part_region(batch: Batch, parts: Sequence[str]) -> Tensor | None:
    """``(B,H,W)`` bool, the pixels of these parts; None where the data have no parts."""
    if batch.parts is None:
        return None
    return torch.isin(batch.parts, torch.tensor([PART_CODES[part] for part in parts], device=batch.parts.device))


def _mean_logit_change(model_pass: Pass, logits: Tensor, targets: Tensor, part: str, draws: int) -> Tensor:
    """``(B,)``."""
    rerender = model_pass.batch.rerender
    if rerender is None:
        raise ValueError("these data cannot be drawn anew")
    redrawn = [model_pass.predict(rerender(part, number).to(model_pass.images)) for number in range(draws)]
    return torch.stack([(logits - after).gather(1, targets[:, None]).abs()[:, 0] for after in redrawn]).mean(0)
