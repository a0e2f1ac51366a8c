"""Oracle explainers, which read the planted truth: the best possible map, and its negative.

Both appear in the tables of data with planted truth and are never recommended.
"""

import torch
from torch import Tensor

from mavis.core.errors import BadParameter, DataError
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.registry import explainer
from mavis.core.types import PART_CODES


@explainer("oracle", source="protocol 4 (assets, iv)", needs={"forward"}, role="oracle", truth=True)
def oracle(draws: int = 4) -> Explainer:
    """Planted truth as a map: fall of the target logit when each face part is drawn anew.

    A fall is spread over the pixels that the redrawing changed, in proportion to the change, and the maps of all parts
    and draws are averaged. Where the data cannot be drawn anew (planted squares) the map is the planted region itself.

    Args:
        draws: other values per part, at least 1; few draws are noisy, since another value can be nearly the same.
    """
    if draws < 1:
        raise BadParameter(f"oracle: draws must be at least 1, got {draws}.")

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        batch = model_pass.batch
        rerender = batch.rerender
        if rerender is not None:
            redrawn = (rerender(part, number) for part in PART_CODES for number in range(draws))
            maps = (_logit_drop_map(model_pass, targets, images.to(model_pass.images)) for images in redrawn)
            return sum(maps, _zeros(model_pass)) / draws
        if batch.regions is not None:
            return batch.regions[:, None].float()
        raise DataError("The oracle needs data with planted truth; leave it out of --explainers for this data.")

    return explain


@explainer("anti_oracle", source="protocol 2.11", needs={"forward"}, role="oracle", truth=True)
def anti_oracle(draws: int = 4) -> Explainer:
    """The oracle with its sign reversed: a metric must rank it last.

    Args:
        draws: as for `oracle`.
    """
    truth = oracle(draws)
    return lambda model_pass, targets: -truth(model_pass, targets)


def _zeros(model_pass: Pass) -> Tensor:
    return torch.zeros_like(model_pass.images[:, :1])


def _logit_drop_map(model_pass: Pass, targets: Tensor, redrawn: Tensor) -> Tensor:
    """``(B,1,H,W)``: the fall of the target logit, spread over the pixels that differ."""
    change = (model_pass.images - redrawn).abs().sum(1, keepdim=True)
    total = change.sum((1, 2, 3), keepdim=True)
    fall = (model_pass.logits - model_pass.predict(redrawn)).gather(1, targets[:, None])[:, :, None, None]
    return torch.where(total > 0, fall * change / total.where(total > 0, torch.ones_like(total)), 0.0)
