"""M8: does a metric reward what is no merit: smoothness, a central place, a constant, size, scale, light?"""

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
from mavis.workflows.meta_evaluation.applicability import applies
from mavis.workflows.meta_evaluation.fixtures import FACES, TRAINED, Bench
from mavis.workflows.meta_evaluation.results import Check, asked, reported
from mavis.workflows.meta_evaluation.scoring import Scores, Subject, scored

EQUAL = 1e-5
OFF_CENTRE = ("background", "ears")
"""Parts that no centre prior reaches; hair does not count, a fringe reaches to the middle."""

TEN_PARTS = 2.81
"""Two standard errors, corrected for ten parts (Bonferroni at .05)."""
ORDERING = ("nsrg", "road_gap", "single_deletion", "relevance_rank_skill", "flip_equivariance")
"""Metrics that read a map's order, to which a level added everywhere says nothing."""


def checks(bench: Bench) -> Iterator[Check]:
    """Bias probes of every deciding metric of which they are asked."""
    rope = bench.rules.decide.rope
    for label in bench.labels("faithfulness"):
        yield from _smoothness(bench, label, rope)
    for label in bench.labels("faithfulness", "localisation", "complexity"):
        yield _constant(bench, label)
    yield from _invariances(bench)
    regions = _regions(bench)
    for label in bench.labels("localisation"):
        yield _centre(label, regions)
        yield _sizes(label, regions, bench.sizes.random_maps)
    yield from _light(bench, rope)


def difference(scores: Scores, first: str, second: str, label: str) -> Floats:
    """Per image the first map's score minus the second's."""
    gap = scores.of(first, label) - scores.of(second, label)
    return gap[~np.isnan(gap)]


def upper(values: Floats) -> float:
    """Mean less two standard errors: what a mean is shown to exceed."""
    return float(values.mean() - 2 * values.std(ddof=1) / len(values) ** 0.5)


def _smoothness(bench: Bench, label: str, rope: float) -> Iterator[Check]:
    """Blur alone gains nothing: noise does not, and a sharp truth loses."""
    gap = difference(bench.faces, "blurred_random", "random", label)
    yield asked(
        "M8", "a: blurred noise against noise", label, TRAINED, "mean gain, less two standard errors", value=upper(gap),
        criterion=f"≤ {rope:g}", passed=upper(gap) <= rope, note=f"mean gain {gap.mean():.3f}, n {len(gap)}",
    )  # fmt: skip
    gains = {n: float(difference(s, "oracle blurred", "oracle", label).mean()) for n, s in bench.wired.items()}
    worst = max(gains, key=lambda name: gains[name])
    yield asked(
        "M8", "a: blurring a sharp truth", label, "hand-wired", "mean gain, the largest", value=gains[worst],
        criterion=f"≤ {rope:g}", passed=gains[worst] <= rope, note=f"largest on {worst}",
    )  # fmt: skip
    gap = difference(bench.faces, "oracle blurred", "oracle", label)
    yield reported("M8", "a: blurring the part-wise oracle", label, TRAINED, "mean gain", value=float(gap.mean()))


def _constant(bench: Bench, label: str) -> Check:
    """A constant map has the chance value exactly; the lowest value where there is no chance."""
    expected = bench.traits(label).chance
    expected = (bench.traits(label).range[0] or 0.0) if expected is None else expected
    away = np.abs(bench.faces.of("constant", label) - expected)
    worst = float(np.nanmax(away))
    return asked(
        "M8", "c: a constant map", label, TRAINED, f"largest distance from {expected:g}", value=worst,
        criterion=f"≤ {EQUAL:g}", passed=worst <= EQUAL,
    )  # fmt: skip


def _invariances(bench: Bench) -> Iterator[Check]:
    """Scale counts for no deciding metric; level for none that reads the order."""
    for label in bench.labels():
        robust = bench.traits(label).category == "robustness"
        tables = [bench.steady] if robust else [bench.faces, *bench.wired.values()]
        # A raised map has lost digits: rounding orders nearly equal cells anew, which must not matter.
        for words, name, most in (
            ("scale", "oracle scaled", 1e-3),
            ("level", "oracle raised", bench.rules.decide.rope),
        ):
            worst = max(_largest(table, name, label) for table in tables if table.has(name, label))
            if words == "level" and label not in ORDERING:
                note = "declared not to hold: it reads masses, sums or sizes"
                yield reported("M8", "d: level", label, "all", "largest change", value=worst, note=note)
                continue
            yield asked(
                "M8", f"d: {words}", label, "mask_mean" if robust else "all", "largest change", value=worst,
                criterion=f"≤ {most:g}", passed=worst <= most,
            )  # fmt: skip


def _largest(table: Scores, name: str, label: str) -> float:
    """Of one image's score, relative to the oracle's mean where that is above 1, as it is on logits."""
    size = max(1.0, abs(table.mean("oracle", label)))
    return float(np.abs(difference(table, name, "oracle", label)).max()) / size


def _regions(bench: Bench) -> dict[str, Scores]:
    """Random and central maps on faces, each part in turn being the region."""
    bench.tell("bias probes: regions of every size")
    parts = [reference_maps.named(f"random {k}", partial(_noise, draw=k)) for k in range(bench.sizes.random_maps)]
    parts.append(bench.part("centre_gaussian"))
    asked_of = bench.asked(bench.settings, "localisation")
    found = {}
    for part in PART_CODES:
        on = bench.faces_subject.edited(part, partial(_with_region, part=part))
        scores = scored(on, parts, asked_of, grid=bench.rules.grid)
        if all(scores.has("random 0", label) for label in asked_of):
            found[part] = scores
    return found


def _noise(run: Pass, _: Tensor, draw: int) -> Tensor:
    shape = (1, *run.images.shape[2:])
    return run.draw(f"random map {draw}", lambda g: torch.randn(shape, generator=g))


def _with_region(batch: Batch, part: str) -> Batch:
    parts = batch.parts
    return replace(batch, regions=None if parts is None else parts == PART_CODES[part])


def _centre(label: str, regions: dict[str, Scores]) -> Check:
    means = {part: regions[part].mean("centre_gaussian", label) for part in OFF_CENTRE if part in regions}
    worst = max(means, key=lambda part: means[part])
    return asked(
        "M8", "b: a centre prior on parts off the centre", label, FACES, "mean skill, the largest", value=means[worst],
        criterion="≤ 0.02", passed=means[worst] <= 0.02, note=", ".join(f"{p} {m:.3f}" for p, m in means.items()),
    )  # fmt: skip


def _sizes(label: str, regions: dict[str, Scores], maps: int) -> Check:
    """Random maps have skill 0 within two standard errors, corrected for the number of parts."""
    away = {}
    for part, scores in regions.items():
        values = np.concatenate([scores.of(f"random {k}", label) for k in range(maps)])
        values = values[~np.isnan(values)]
        error = float(values.std(ddof=1) / len(values) ** 0.5)
        away[part] = abs(float(values.mean())) / error if error > 0 else 0.0
    worst = max(away, key=lambda part: away[part])
    return asked(
        "M8", "e: random maps on parts of every size", label, FACES, "largest distance from 0 in standard errors",
        value=away[worst], criterion=f"≤ {TEN_PARTS:g}", passed=away[worst] <= TEN_PARTS,
        note=f"largest on {worst}; {len(away)} parts, {maps} maps an image",
    )  # fmt: skip


class Corner(nn.Module):
    """Logits ``(m, −m)``, m eight times the mean distance from grey in the upper left corner, an eighth of the side."""

    SCALE = 8.0

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,2)``."""
        mean = self.SCALE * (images[:, :, : images.shape[2] // 8, : images.shape[3] // 8].mean((1, 2, 3)) - 0.5)
        return torch.stack([mean, -mean], dim=1)

    def contributions(self, images: Tensor, targets: Tensor) -> Tensor:
        """Of the corner's pixels, beyond grey; the model is linear."""
        mask = torch.zeros_like(images[:1, :1])
        mask[:, :, : images.shape[2] // 8, : images.shape[3] // 8] = 1
        bright = self.SCALE * (images.mean(1, keepdim=True) - 0.5)
        return bright * mask / mask.sum() * (1 - 2 * targets)[:, None, None, None]


def _light(bench: Bench, rope: float) -> Iterator[Check]:
    """Faces with another skin, on a model that reads the wall: not one score may move by more than the ROPE."""
    bench.tell("bias probes: another skin")
    data = datasets[FACES].make({})
    model = Model(
        "corner", Corner(), ("bright", "dark"), "corner", None, frozenset({"forward", "gradient"}), output="logit"
    )
    on = Subject("corner", model, data, bench.faces_subject.ids, bench.seed)
    maps = [reference_maps.named("oracle", reference_maps.exact), bench.part("random")]
    asked_of = bench.asked(bench.settings, "faithfulness", "localisation", "complexity")
    asked_of = {
        m: p for m, p in asked_of.items() if not bench.traits(m).rerender and applies(bench.traits(m).category, "M8")
    }
    before = scored(on, maps, asked_of, grid=bench.rules.grid)
    other = scored(
        on.edited("corner", partial(reference_maps.in_other_light, draw=0)), maps, asked_of, grid=bench.rules.grid
    )
    for label in asked_of:
        gaps = [other.of(e, label) - before.of(e, label) for e in ("oracle", "random")]
        moved = max((abs(float(np.nanmean(gap))) for gap in gaps if np.isfinite(gap).any()), default=float("nan"))
        yield asked(
            "M8", "f: the same face with another skin", label, "a model that reads the wall", "change of the mean",
            value=moved, criterion=f"≤ {rope:g}", passed=moved <= rope, note=f"n {int(np.isfinite(gaps[0]).sum())}",
        )  # fmt: skip
