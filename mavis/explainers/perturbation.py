"""Explainers that only ask for predictions: they work on any black box."""

import torch
from torch import Tensor

from mavis.errors import BadParameter
from mavis.kinds import Explainer
from mavis.maps import upsampled
from mavis.passes import Pass
from mavis.registry import explainer


@explainer("occlusion", source="Zeiler and Fergus 2014, section 4.2, arXiv 1311.2901", needs={"forward"})
def occlusion(window: float = 0.125, stride: float = 0.0625) -> Explainer:
    """Drop of the target logit while a square of the data set's mean colour slides over the image.

    A pixel's value is the mean drop over the squares that cover it.

    Args:
        window: side of the square as a share of the image's side, (0, 1].
        stride: step as a share of the image's side, (0, window], so that no pixel is left out.
    """
    if not 0 < stride <= window <= 1:
        raise BadParameter(f"occlusion: expected 0 < stride <= window <= 1, got stride={stride}, window={window}.")

    def explain(run: Pass, targets: Tensor) -> Tensor:
        squares = _squares(run.images, window, stride)
        drops = _answers(run, squares[None].expand(len(run), -1, -1, -1), targets, base=run.logits)
        total = torch.einsum("bm,mhw->bhw", drops, squares.float())
        return (total / squares.float().sum(0))[:, None]

    return explain


@explainer("rise", source="Petsiuk et al. 2018, equation 6, arXiv 1806.07421", needs={"forward"}, stochastic=True)
def rise(masks: int = 256, cells: int = 7, keep: float = 0.5) -> Explainer:
    """Mean of random soft masks, each weighted by the target's probability under it.

    Args:
        masks: masks per image, at least 2; half of them are the complements of the other half.
        cells: side of the coarse grid that is enlarged and shifted at random.
        keep: share of coarse cells that are kept, (0, 1).

    Differs: what is masked shows the data set's mean colour, not black; masks come in complementary pairs when
    ``keep`` is one half, which lowers the variance; the constant that only shifts the map is kept out by weighting
    with the deviation from the mean answer.
    """
    if masks < 2 or masks % 2 or cells < 1 or not 0 < keep < 1:
        raise BadParameter(
            f"rise: expected an even number of masks, cells >= 1 and 0 < keep < 1, "
            f"got masks={masks}, cells={cells}, keep={keep}."
        )

    def explain(run: Pass, targets: Tensor) -> Tensor:
        size = (run.images.shape[2], run.images.shape[3])
        return torch.cat([_rise(run.alone(row), targets[row : row + 1], size) for row in range(len(run))])

    def _rise(one: Pass, target: Tensor, size: tuple[int, int]) -> Tensor:
        kept = one.draw("rise", lambda g: _soft_masks(g, masks, cells, keep, size))
        answers = _answers(one, 1 - kept, target)
        weights = answers - answers.mean(1, keepdim=True)
        return torch.einsum("bm,bmhw->bhw", weights, kept)[:, None] / (masks * keep)

    return explain


def _squares(images: Tensor, window: float, stride: float) -> Tensor:
    """``(M,H,W)`` bool, one square each; the last row and column of squares end at the border."""

    def spans(side: int) -> Tensor:
        length, step = max(1, round(window * side)), max(1, round(stride * side))
        starts = sorted({*range(0, side - length + 1, step), side - length})
        places = torch.arange(side, device=images.device)
        first = torch.tensor(starts, device=images.device)[:, None]
        return (places >= first) & (places < first + length)

    rows, columns = spans(images.shape[2]), spans(images.shape[3])
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)


def _soft_masks(stream: torch.Generator, count: int, cells: int, keep: float, size: tuple[int, int]) -> Tensor:
    """``(count,H,W)`` in [0,1]: coarse random grids, enlarged and shifted by up to one cell."""
    half = count // 2
    coarse = (torch.rand((half, 1, cells, cells), generator=stream) < keep).float()
    other = 1 - coarse if keep == 0.5 else (torch.rand(coarse.shape, generator=stream) < keep).float()
    height, width = (-(-side // cells) for side in size)
    large = upsampled(torch.cat([coarse, other]), (size[0] + height, size[1] + width))[:, 0]
    down = torch.randint(height, (half,), generator=stream).repeat(2)
    right = torch.randint(width, (half,), generator=stream).repeat(2)
    rows = down[:, None] + torch.arange(size[0])
    columns = right[:, None] + torch.arange(size[1])
    return large[torch.arange(2 * half)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _answers(run: Pass, hidden: Tensor, targets: Tensor, base: Tensor | None = None) -> Tensor:
    """Target's answer for each image under each of its masks.

    Args:
        run: the pass.
        hidden: ``(B,M,H,W)`` in [0,1] or bool, how much of the mean colour shows.
        targets: ``(B,)``.
        base: logits ``(B,K)`` of the whole images: then the drop of the logit is returned, else the probability.

    Returns:
        ``(B,M)``.
    """
    B, M = hidden.shape[:2]
    rows = torch.arange(B * M, device=targets.device)
    mean = run.mean[None, :, None, None]
    answers = []
    for part in rows.split(run.chunk):
        images, shade = run.images[part // M], hidden[part // M, part % M][:, None]
        covered = torch.where(shade, mean, images) if shade.dtype == torch.bool else torch.lerp(images, mean, shade)
        logits = run.predict(covered)
        chosen = logits if base is not None else logits.softmax(1)
        answers.append(chosen.gather(1, targets[part // M][:, None])[:, 0])
    found: Tensor = torch.cat(answers).unflatten(0, (B, M))
    return found if base is None else base.gather(1, targets[:, None]) - found
