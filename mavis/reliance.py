"""Which face parts does the model use? Each is drawn anew, with all else kept, and the logit watched.

Source: protocol S1 (reliance test); rendered interventions after Hesse et al. 2023 (FunnyBirds), arXiv 2308.06248.
"""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from mavis.passes import Pass
from mavis.rules import Protocol
from mavis.subjects import Sample
from mavis.types import PART_CODES, Batch, Model

COLUMNS = ["model", "image", "part", "change"]


def measure(model: Model, drawn: Sample, protocol: Protocol, chunk: int) -> pd.DataFrame:
    """How far the logit of the explained class moves when a part is drawn anew.

    It is measured on the images on which maps are made again, ``variants.per_group`` of them.

    Args:
        model: the model.
        drawn: the images.
        protocol: its ``reliance`` says how often; nothing is measured without it.
        chunk: most samples in one model call.

    Returns:
        ``model, image, part, change``: one row per image and part; the absolute change, mean over the draws. Empty
        where the data cannot be drawn anew.
    """
    if protocol.reliance is None or not drawn.rerender:
        return pd.DataFrame(columns=COLUMNS)
    ids, found = [i for i in drawn.ids if i in drawn.varied], []
    for start in range(0, len(ids), chunk):
        batch = drawn.data.load(ids[start : start + chunk]).to(model.device)
        run = Pass(model, batch, drawn.data.mean.to(model.device), protocol.seed, chunk)
        for part in PART_CODES:
            change = _change(run, part, protocol).cpu().double().numpy()
            found.append(pd.DataFrame({"image": list(run.ids), "part": part, "change": change}))
    return pd.concat(found, ignore_index=True).assign(model=model.name)[COLUMNS]


def region(batch: Batch, used: Sequence[str]) -> Tensor | None:
    """``(B,H,W)`` bool, the pixels of these parts; None where the data have no parts."""
    if batch.parts is None:
        return None
    return torch.isin(batch.parts, torch.tensor([PART_CODES[part] for part in used], device=batch.parts.device))


def _change(run: Pass, part: str, protocol: Protocol) -> Tensor:
    """``(B,)``."""
    if run.batch.rerender is None or protocol.reliance is None:
        raise ValueError("these data cannot be drawn anew")
    logits = run.predict(run.images)
    targets = run.batch.labels if protocol.target.policy == "label" else logits.argmax(1)
    before = logits.gather(1, targets[:, None])
    draws = range(protocol.reliance.draws)
    again = [run.predict(run.batch.rerender(part, number).to(run.images)) for number in draws]
    return torch.stack([(before - after.gather(1, targets[:, None])).abs()[:, 0] for after in again]).mean(0)
