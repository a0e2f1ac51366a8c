"""Attainable gain: the largest symmetric relevance gain that a search over orders of removal finds on an image.

No map decides it, so it is one ceiling for all explainers of a model. Two orders are tried per grid, by Shapley values
of the cells and a greedy one that is built from both ends; the better one is improved by swaps. It is the gain of an
order, so no more than the best; maps exceed it on single images, hardly ever in the mean.

Source: Shapley values by sampled orders: Castro et al. 2009, doi 10.1016/j.cor.2008.04.004. The two-ended greedy order
with swaps is MAVIS's own.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mavis.core.metric_types import Curve, CurveQuery, CurveUnit, CurveValues, SweepMetric
from mavis.core.model_pass import Pass
from mavis.engine.removal import RemovalSession, removal_counts, shared_sweeps

SWAP_ROUNDS = 3
"""Passes over the points of the curve in search of swaps."""

N_SWAPS = 8
"""Swaps that are tried at each point in each pass."""


_Answers = dict[CurveQuery, CurveValues]


@dataclass(frozen=True)
class _Game:
    """Removal of one image's units, as a game of which the model's output is the value.

    Attributes:
        session: of this image alone.
        unit: kind of the units.
        imputers: the output is the mean over these.
        n_units: number of the units.
    """

    session: RemovalSession
    unit: CurveUnit
    imputers: tuple[str, ...]
    n_units: int

    def outputs(self, removed: Tensor) -> Tensor:
        """``(S,)`` for sets of units ``(S,units)``."""
        answers = [self.session.outputs_without(name, self.unit, removed[None])[0] for name in self.imputers]
        return torch.stack(answers).mean(0)


def attainable_score(model_pass: Pass, target: int, metric: SweepMetric, grid: int, n_orders: int) -> float:
    """The best score of a metric of gains that the search finds on one image.

    Args:
        model_pass: of one image.
        target: the explained class.
        metric: a mean of gains over units and imputers, as `srg`.
        grid: cells along a side of the run's grid.
        n_orders: orders for the Shapley values, half of them random and half their reverses; even, at least 2.
    """
    session = RemovalSession(model_pass, torch.tensor([target], device=model_pass.images.device), grid)
    curves = [curve for curve in metric.curves if isinstance(curve, Curve)]
    best: _Answers = {}
    for unit in dict.fromkeys(curve.unit for curve in curves):
        own = [curve for curve in curves if curve.unit == unit]
        imputers = tuple(dict.fromkeys(curve.imputer for curve in own))
        game = _Game(session, unit, imputers, int(session.units(unit).n_units))
        counts = _step_counts(game.n_units, own)
        candidates = [_shapley_values(game, n_orders), _greedy_order(game, counts)]
        values, answers = _best_of(game, candidates, own)
        _, improved = _best_of(game, [values, _improve_by_swaps(game, values, counts)], own, first=answers)
        best |= improved
    return float(metric.score(best)[0])


def _best_of(
    game: _Game, candidates: Sequence[Tensor], curves: Sequence[Curve], first: _Answers | None = None
) -> tuple[Tensor, _Answers]:
    """The values whose order has the largest gain, and its curves; those of the first may be known."""
    answers = [first] if first is not None else [_sweep(game, candidates[0], curves)]
    answers += [_sweep(game, values, curves) for values in candidates[1:]]
    best = int(torch.tensor([_total_gain(answer) for answer in answers]).argmax())
    return candidates[best], answers[best]


def _step_counts(n_units: int, curves: Sequence[Curve]) -> list[int]:
    """Numbers of removed units at which any of the curves is read, rising, from 0 to all."""
    fractions = sorted({0.0, 1.0, *(share for curve in curves for share in curve.fractions)})
    return sorted(set(removal_counts(torch.tensor([n_units]), fractions)[0].tolist()))


def _sweep(game: _Game, values: Tensor, curves: Sequence[Curve]) -> _Answers:
    order = game.session.order_units(values[None], game.unit)
    answers: _Answers = {}
    for group in shared_sweeps(curves):
        answers |= game.session.sweep(order, [curve for curve in group if isinstance(curve, Curve)])
    return answers


def _total_gain(answers: _Answers) -> float:
    areas = {curve: float(values.area()[0]) for curve, values in answers.items()}
    return sum(area if isinstance(curve, Curve) and curve.order == "lif" else -area for curve, area in areas.items())


def _shapley_values(game: _Game, n_orders: int) -> Tensor:
    """``(units,)``: mean fall of the output by each unit's removal, over random orders and their reverses."""
    draws = game.session.model_pass.draw(
        f"attainable {game.unit}",
        lambda stream: torch.stack([torch.randperm(game.n_units, generator=stream) for _ in range(n_orders // 2)]),
    )[0]
    values = torch.zeros(game.n_units, dtype=torch.float64, device=draws.device)
    for order in torch.cat([draws, draws.flip(1)]):
        rank = order.argsort()
        removed = rank[None] < torch.arange(game.n_units + 1, device=rank.device)[:, None]
        outputs = game.outputs(removed).double()
        values[order] += outputs[:-1] - outputs[1:]
    return values / (2 * (n_orders // 2))


def _greedy_order(game: _Game, counts: Sequence[int]) -> Tensor:
    """``(units,)``: values whose order removes the best units next, in turn at the front and at the back.

    Blocks are those of the curve. At the front go the units whose removal lowers the output most, of those that are
    left; at the back the ones whose removal lowers it least.
    """
    sizes = [after - before for before, after in itertools.pairwise(counts)]
    values = torch.full((game.n_units,), torch.nan, dtype=torch.float64, device=game.session.targets.device)
    front, back = torch.zeros_like(values, dtype=torch.bool), torch.zeros_like(values, dtype=torch.bool)
    place = float(game.n_units)
    ends = [(front, sizes.pop(0), True)] if sizes else []
    while ends:
        removed, size, is_front = ends.pop()
        left = (~front & ~back).nonzero()[:, 0]
        effects = _single_effects(game, removed, left)
        chosen = left[effects.argsort(descending=is_front, stable=True)[:size]]
        values[chosen] = place if is_front else -place
        removed[chosen] = True
        place -= 0 if is_front else 1
        if sizes:
            ends.append((back, sizes.pop(), False) if is_front else (front, sizes.pop(0), True))
    return values


def _single_effects(game: _Game, removed: Tensor, candidates: Tensor) -> Tensor:
    """``(C,)``: fall of the output when each candidate goes too; up to a constant."""
    sets = removed[None].repeat(len(candidates), 1)
    sets[torch.arange(len(candidates), device=candidates.device), candidates] = True
    return -game.outputs(sets)


def _improve_by_swaps(game: _Game, values: Tensor, counts: Sequence[int]) -> Tensor:
    """``(units,)``: values of an order in which units of neighbouring blocks have changed places.

    At each inner point of the curve some swaps across it are tried, and the best is kept if it widens the gap between
    the outputs without the units behind the point and without those before it.
    """
    order = values.argsort(descending=True, stable=True)
    stream = game.session.model_pass.draw(
        f"swaps {game.unit}",
        lambda generator: torch.rand((SWAP_ROUNDS, len(counts), N_SWAPS, 2), generator=generator, dtype=torch.float64),
    )[0]
    for draws in stream:
        for k, (start, point, end) in enumerate(zip(counts, counts[1:], counts[2:], strict=False)):
            before = start + (draws[k, :, 0] * (point - start)).long()
            behind = point + (draws[k, :, 1] * (end - point)).long()
            removed = torch.zeros((N_SWAPS + 1, game.n_units), dtype=torch.bool, device=order.device)
            removed[:, order[:point]] = True
            swaps = torch.arange(1, N_SWAPS + 1, device=order.device)
            removed[swaps, order[before]] = False
            removed[swaps, order[behind]] = True
            best = int((game.outputs(~removed) - game.outputs(removed)).argmax())
            if best:
                places = torch.stack([before[best - 1], behind[best - 1]])
                order[places] = order[places.flip(0)]
    return -order.argsort().double()
