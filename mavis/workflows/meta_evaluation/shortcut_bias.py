"""M8: metrics give no credit for smoothness, a central place, a constant map, region size, scale or light."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from mavis.analysis.statistics.bootstrap import Floats
from mavis.core.model_pass import Pass
from mavis.core.registry import datasets
from mavis.core.types import PART_CODES, Batch, Model
from mavis.workflows.meta_evaluation import reference_maps
from mavis.workflows.meta_evaluation.applicability import is_applicable
from mavis.workflows.meta_evaluation.fixtures import FACES, TRAINED, Bench
from mavis.workflows.meta_evaluation.results import Check, criterion_check, descriptive_check
from mavis.workflows.meta_evaluation.scoring import MapScores, Subject, score_maps

TOLERANCE = 1e-5
OFF_CENTRE_PARTS = ("background", "ears")
"""Parts that a centre prior does not reach; hair is not among them, because a fringe reaches to the middle."""

MAX_STANDARD_ERRORS = 2.81
"""Two standard errors, corrected for ten parts (Bonferroni at .05)."""
ORDER_METRICS = ("nsrg", "road_gap", "single_deletion", "relevance_rank_skill", "flip_equivariance")
"""Metrics that read a map's order, which a constant added everywhere leaves unchanged."""


def bias_checks(bench: Bench) -> Iterator[Check]:
    """Bias checks of every deciding metric to which they apply."""
    rope = bench.protocol.decide.rope
    for label in bench.labels("faithfulness"):
        yield from _smoothness_checks(bench, label, rope)
    for label in bench.labels("faithfulness", "localisation", "complexity"):
        yield _constant_map_check(bench, label)
    yield from _invariance_checks(bench)
    regions = _score_part_regions(bench)
    for label in bench.labels("localisation"):
        yield _centre_prior_check(label, regions)
        yield _region_size_check(label, regions, bench.sizes.random_maps)
    yield from _skin_checks(bench, rope)


def score_differences(scores: MapScores, first: str, second: str, label: str) -> Floats:
    """Per image the first map's score minus the second's."""
    gap = scores.values(first, label) - scores.values(second, label)
    return gap[~np.isnan(gap)]


def lower_bound(values: Floats) -> float:
    """Lower confidence bound of the mean: the mean minus two standard errors."""
    return float(values.mean() - 2 * values.std(ddof=1) / len(values) ** 0.5)


def _smoothness_checks(bench: Bench, label: str, rope: float) -> Iterator[Check]:
    """Blurring alone does not raise scores, neither of noise nor of a sharp exact map."""
    gap = score_differences(bench.faces, "blurred_random", "random", label)
    yield criterion_check(
        "M8", "a: blurred noise against noise", label, TRAINED, "mean gain, less two standard errors",
        value=lower_bound(gap), criterion=f"≤ {rope:g}", passed=lower_bound(gap) <= rope,
        note=f"mean gain {gap.mean():.3f}, n {len(gap)}",
    )  # fmt: skip
    gains = {
        name: float(score_differences(scores, "oracle blurred", "oracle", label).mean())
        for name, scores in bench.hand_wired.items()
    }
    worst = max(gains, key=lambda name: gains[name])
    yield criterion_check(
        "M8", "a: blurring a sharp truth", label, "hand-wired", "mean gain, the largest", value=gains[worst],
        criterion=f"≤ {rope:g}", passed=gains[worst] <= rope, note=f"largest on {worst}",
    )  # fmt: skip
    gap = score_differences(bench.faces, "oracle blurred", "oracle", label)
    yield descriptive_check(
        "M8", "a: blurring the part-wise oracle", label, TRAINED, "mean gain", value=float(gap.mean())
    )


def _constant_map_check(bench: Bench, label: str) -> Check:
    """A constant map has exactly the chance value, or the lowest value where none is declared."""
    expected = bench.traits(label).chance
    expected = (bench.traits(label).range[0] or 0.0) if expected is None else expected
    deviations = np.abs(bench.faces.values("constant", label) - expected)
    worst = float(np.nanmax(deviations))
    return criterion_check(
        "M8", "c: a constant map", label, TRAINED, f"largest distance from {expected:g}", value=worst,
        criterion=f"≤ {TOLERANCE:g}", passed=worst <= TOLERANCE,
    )  # fmt: skip


def _invariance_checks(bench: Bench) -> Iterator[Check]:
    """Scale changes no score; an added constant changes no score of metrics that read the order."""
    for label in bench.labels():
        is_robustness = bench.traits(label).category == "robustness"
        tables = [bench.hand_wired_robustness] if is_robustness else [bench.faces, *bench.hand_wired.values()]
        # Adding a constant costs digits: rounding reorders nearly equal cells, hence the wider limit.
        for test, map_name, limit in (
            ("scale", "oracle scaled", 1e-3),
            ("level", "oracle raised", bench.protocol.decide.rope),
        ):
            worst = max(_largest_change(table, map_name, label) for table in tables if table.has(map_name, label))
            if test == "level" and label not in ORDER_METRICS:
                note = "declared not to hold: it reads masses, sums or sizes"
                yield descriptive_check("M8", "d: level", label, "all", "largest change", value=worst, note=note)
                continue
            yield criterion_check(
                "M8", f"d: {test}", label, "mask_mean" if is_robustness else "all", "largest change", value=worst,
                criterion=f"≤ {limit:g}", passed=worst <= limit,
            )  # fmt: skip


def _largest_change(table: MapScores, name: str, label: str) -> float:
    """Largest change of one image's score, relative to the oracle's mean where that is above 1, as on logits."""
    size = max(1.0, abs(table.mean("oracle", label)))
    return float(np.abs(score_differences(table, name, "oracle", label)).max()) / size


def _score_part_regions(bench: Bench) -> dict[str, MapScores]:
    """Scores of random and central maps on faces, with each part in turn as the region."""
    bench.notify("bias probes: regions of every size")
    components = [
        reference_maps.as_component(f"random {k}", partial(_random_map, draw=k)) for k in range(bench.sizes.random_maps)
    ]
    components.append(bench.explainer("centre_gaussian"))
    metric_params = bench.select(bench.metric_params, "localisation")
    tables = {}
    for part in PART_CODES:
        subject = bench.faces_subject.with_transform(part, partial(_with_region, part=part))
        scores = score_maps(subject, components, metric_params, grid=bench.protocol.grid)
        if all(scores.has("random 0", label) for label in metric_params):
            tables[part] = scores
    return tables


def _random_map(model_pass: Pass, _: Tensor, draw: int) -> Tensor:
    shape = (1, *model_pass.images.shape[2:])
    return model_pass.draw(f"random map {draw}", lambda g: torch.randn(shape, generator=g))


def _with_region(batch: Batch, part: str) -> Batch:
    parts = batch.parts
    return replace(batch, regions=None if parts is None else parts == PART_CODES[part])


def _centre_prior_check(label: str, regions: dict[str, MapScores]) -> Check:
    means = {part: regions[part].mean("centre_gaussian", label) for part in OFF_CENTRE_PARTS if part in regions}
    worst = max(means, key=lambda part: means[part])
    return criterion_check(
        "M8", "b: a centre prior on parts off the centre", label, FACES, "mean skill, the largest", value=means[worst],
        criterion="≤ 0.02", passed=means[worst] <= 0.02,
        note=", ".join(f"{part} {mean:.3f}" for part, mean in means.items()),
    )  # fmt: skip


def _region_size_check(label: str, regions: dict[str, MapScores], n_maps: int) -> Check:
    """Random maps have a normalised score of 0 within two standard errors, corrected for the number of parts."""
    distances = {}
    for part, scores in regions.items():
        values = np.concatenate([scores.values(f"random {k}", label) for k in range(n_maps)])
        values = values[~np.isnan(values)]
        error = float(values.std(ddof=1) / len(values) ** 0.5)
        distances[part] = abs(float(values.mean())) / error if error > 0 else 0.0
    worst = max(distances, key=lambda part: distances[part])
    return criterion_check(
        "M8", "e: random maps on parts of every size", label, FACES, "largest distance from 0 in standard errors",
        value=distances[worst], criterion=f"≤ {MAX_STANDARD_ERRORS:g}", passed=distances[worst] <= MAX_STANDARD_ERRORS,
        note=f"largest on {worst}; {len(distances)} parts, {n_maps} maps an image",
    )  # fmt: skip


class Corner(nn.Module):
    """Logits ``(m, −m)``, m eight times the mean distance from grey in the upper left corner, an eighth of the side."""

    SCALE = 8.0

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,2)``."""
        mean = self.SCALE * (images[:, :, : images.shape[2] // 8, : images.shape[3] // 8].mean((1, 2, 3)) - 0.5)
        return torch.stack([mean, -mean], dim=1)

    def contributions(self, images: Tensor, targets: Tensor) -> Tensor:
        """Contributions of the corner's pixels relative to grey; exact, because the model is linear."""
        mask = torch.zeros_like(images[:1, :1])
        mask[:, :, : images.shape[2] // 8, : images.shape[3] // 8] = 1
        bright = self.SCALE * (images.mean(1, keepdim=True) - 0.5)
        return bright * mask / mask.sum() * (1 - 2 * targets)[:, None, None, None]


def _skin_checks(bench: Bench, rope: float) -> Iterator[Check]:
    """Redrawing the skin moves no score by more than the ROPE on a model that reads the wall."""
    bench.notify("bias probes: another skin")
    data = datasets[FACES].create({})
    model = Model(
        "corner", Corner(), ("bright", "dark"), "corner", None, frozenset({"forward", "gradient"}), output="logit"
    )
    subject = Subject("corner", model, data, bench.faces_subject.ids, bench.seed)
    maps = [reference_maps.as_component("oracle", reference_maps.exact_contributions), bench.explainer("random")]
    metric_params = bench.select(bench.metric_params, "faithfulness", "localisation", "complexity")
    metric_params = {
        label: params
        for label, params in metric_params.items()
        if not bench.traits(label).rerender and is_applicable(bench.traits(label).category, "M8")
    }
    before = score_maps(subject, maps, metric_params, grid=bench.protocol.grid)
    after = score_maps(
        subject.with_transform("corner", partial(reference_maps.redraw_skin, draw=0)),
        maps,
        metric_params,
        grid=bench.protocol.grid,
    )
    for label in metric_params:
        gaps = [after.values(map_name, label) - before.values(map_name, label) for map_name in ("oracle", "random")]
        change = max((abs(float(np.nanmean(gap))) for gap in gaps if np.isfinite(gap).any()), default=float("nan"))
        yield criterion_check(
            "M8", "f: the same face with another skin", label, "a model that reads the wall", "change of the mean",
            value=change, criterion=f"≤ {rope:g}", passed=change <= rope, note=f"n {int(np.isfinite(gaps[0]).sum())}",
        )  # fmt: skip
