"""M0: metrics on models and maps whose scores are known in closed form.

The logit of a model of four cells is a known function of which cells are present (1 where the image is white, 0 where
it is grey): linear 4 a + 3 b + 2 c + d, additive a + b + c + d, product a b, saturating max(a, b). The region of the
localisation metrics is one quarter of the image.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from mavis.core.attribution_maps import Maps, cell_means, cells_to_pixels
from mavis.core.metric_types import Curve, MapMetric, ProbeMetric, SweepMetric
from mavis.core.model_pass import Pass
from mavis.core.registry import metrics
from mavis.core.types import Batch, Model
from mavis.engine.removal import RemovalSession, shared_sweeps
from mavis.workflows.meta_evaluation.results import Check, criterion_check

TOLERANCE = 1e-5
SIDE, GRID = 8, 2
SHAPLEY_VALUES = {
    "linear": (4, 3, 2, 1),
    "additive": (1, 1, 1, 1),
    "product": (0.5, 0.5, 0, 0),
    "saturating": (0.5, 0.5, 0, 0),
}
"""Exact contributions (Shapley) per model."""

MAPS: Mapping[str, Sequence[float]] = {"uniform": (1, 1, 1, 1), "one-hot": (1, 0, 0, 0), "half-in": (1, 1, 0, 0)}

FIVE_POINTS = {"imputer": "mean", "points": 5}
EXPECTED: Sequence[tuple[str, str, str, Mapping[str, object], float]] = (
    ("linear", "exact", "deletion", FIVE_POINTS, (10 / 2 + 6 + 3 + 1) / 4),
    ("linear", "exact", "insertion", FIVE_POINTS, (10 / 2 + 9 + 7 + 4) / 4),
    ("linear", "exact", "srg", {"imputers": ["mean"], "points": 5}, 2.5),
    ("linear", "exact", "nsrg", {"imputers": ["mean"], "points": 5}, 0.25),
    ("linear", "exact", "road_gap", FIVE_POINTS, (9 - 6 + 7 - 3 + 4 - 1) / 3),
    ("linear", "exact", "single_deletion", {}, 1.0),
    ("linear", "exact", "faithfulness_correlation", {"size": 0.5, "subsets": 20}, 1.0),
    ("linear", "exact", "infidelity", {"size": 0.5, "subsets": 20}, 0.0),
    ("linear", "exact", "completeness", {}, 0.0),
    ("additive", "exact", "nsrg", {"imputers": ["mean"], "points": 5}, 0.0),
    ("additive", "one-hot", "nsrg", {"imputers": ["mean"], "points": 5}, 0.0),
    ("product", "exact", "nsrg", {"imputers": ["mean"], "points": 5}, 0.5),
    ("product", "one-hot", "nsrg", {"imputers": ["mean"], "points": 5}, 0.25),
    ("saturating", "exact", "nsrg", {"imputers": ["mean"], "points": 5}, 0.5),
    ("linear", "uniform", "nsrg", {"imputers": ["mean"], "points": 5}, 0.0),
    ("linear", "uniform", "single_deletion", {}, 0.0),
    ("linear", "uniform", "relevance_mass", {}, 0.25),
    ("linear", "uniform", "relevance_mass_skill", {}, 0.0),
    ("linear", "uniform", "relevance_rank_skill", {}, 0.0),
    ("linear", "uniform", "pixel_auroc", {}, 0.5),
    ("linear", "uniform", "gini", {}, 0.0),
    ("linear", "one-hot", "relevance_mass_skill", {}, 1.0),
    ("linear", "one-hot", "relevance_rank_skill", {}, 1.0),
    ("linear", "one-hot", "pointing_game", {}, 1.0),
    ("linear", "one-hot", "gini", {}, 0.75),
    ("linear", "half-in", "relevance_mass", {}, 0.5),
    ("linear", "half-in", "relevance_mass_skill", {}, 1 / 3),
    ("linear", "half-in", "relevance_rank", {}, 0.5),
    ("linear", "half-in", "pixel_auroc", {}, 5 / 6),
    ("linear", "half-in", "gini", {}, 0.5),
)
"""Model, map, metric, parameters and the score worked out by hand."""


class CellModel(nn.Module):
    """Logits ``(f, 0)``, f a function of which of four cells are present."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,2)``."""
        logit = self.f(2 * cell_means(images.mean(1), GRID) - 1)
        return torch.stack([logit, torch.zeros_like(logit)], dim=1)


MODELS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda present: present @ torch.tensor([4.0, 3.0, 2.0, 1.0]),
    "additive": lambda present: present.sum(1),
    "product": lambda present: present[:, 0] * present[:, 1],
    "saturating": lambda present: present[:, :2].amax(1),
}


def closed_form_checks(seed: int) -> tuple[Check, ...]:
    """One check per metric that has closed forms: its largest error."""
    errors: dict[str, list[tuple[float, str]]] = {}
    for model, map_name, metric, params, expected in EXPECTED:
        value = score(model, map_name, metric, params, seed)
        errors.setdefault(metric, []).append((abs(value - expected), f"{model}/{map_name}"))
    return tuple(_error_checks(errors))


def score(model: str, map_name: str, metric: str, params: Mapping[str, object], seed: int) -> float:
    """A metric's score of a map of four cells on a model of four cells."""
    values = torch.tensor([SHAPLEY_VALUES[model] if map_name == "exact" else MAPS[map_name]], dtype=torch.float32)
    area = cells_to_pixels(values, (SIDE, SIDE)) / (SIDE // GRID) ** 2
    maps = Maps.from_values(area, GRID)
    model_pass = _white_pass(model, seed)
    plugin = metrics[metric].create(params)
    session = RemovalSession(model_pass, torch.tensor([0]), GRID)
    match plugin:
        case MapMetric():
            return float(plugin.score(maps, model_pass.batch))
        case SweepMetric():
            order = session.removal_order(maps)
            groups = [[curve for curve in group if isinstance(curve, Curve)] for group in shared_sweeps(plugin.curves)]
            answers = [session.sweep(order, group) for group in groups]
            return float(plugin.score({curve: values for answer in answers for curve, values in answer.items()}))
        case ProbeMetric():
            return float(plugin.score(maps, {probe: session.probe_outputs(probe) for probe in plugin.probes}))
    raise TypeError(f"'{metric}' has no closed form here: expected a map, sweep or probe metric.")


def _white_pass(model: str, seed: int) -> Pass:
    """A pass on one white image, where every cell is present; the region is the first cell."""
    region = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    region[:, : SIDE // GRID, : SIDE // GRID] = True
    batch = Batch(torch.ones(1, 3, SIDE, SIDE), torch.tensor([0]), ("white",), regions=region)
    cell_model = Model(model, CellModel(MODELS[model]), ("there", "not"), model, output="logit")
    return Pass(cell_model, batch, torch.full((3,), 0.5), seed, 64)


def _error_checks(errors: Mapping[str, Sequence[tuple[float, str]]]) -> Iterator[Check]:
    for metric, cases in errors.items():
        error, case = max(cases)
        yield criterion_check(
            "M0", "closed forms", metric, "models of four cells", "largest error", value=error,
            criterion=f"≤ {TOLERANCE:g}", passed=error <= TOLERANCE, note=f"{len(cases)} cases; largest at {case}",
        )  # fmt: skip
