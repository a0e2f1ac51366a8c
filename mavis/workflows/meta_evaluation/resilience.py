"""M3, M4 and M4b: robustness of scores to tiny noise; sensitivity to corrupted maps."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mavis.analysis.statistics import inter_rater
from mavis.analysis.statistics.bootstrap import Floats
from mavis.analysis.statistics.ranking import rank_rows
from mavis.core import seeding
from mavis.core.objects.network_copy import copy_network
from mavis.core.types import Batch, Model
from mavis.engine.planning.plan import Component
from mavis.workflows.meta_evaluation import reference_maps
from mavis.workflows.meta_evaluation.applicability import REQUIREMENTS, is_applicable
from mavis.workflows.meta_evaluation.fixtures import INFORMATIVE_MAPS, N_PERTURBATIONS, NOISE_40_DB, TRAINED, Bench
from mavis.workflows.meta_evaluation.known_order import oracle_name, superiority
from mavis.workflows.meta_evaluation.results import Check, criterion_check, descriptive_check
from mavis.workflows.meta_evaluation.scoring import MapScores, Subject, score_maps

IMAGE_NOISE, WEIGHT_NOISE = 1 / 255, 1e-3


def noise_checks(bench: Bench) -> Iterator[Check]:
    """M3 for every deciding metric: the scores of the methods, and their order, under tiny noise."""
    tables = _score_tables(bench)
    for label in bench.labels():
        before, after = tables[bench.traits(label).category]
        methods = [method for method in bench.sizes.methods if before.has(method, label)]
        agreements = {kind: _noise_agreement(before, table, methods, label, bench) for kind, table in after.items()}
        for statistic, key in (("unchanged ranks of the methods", "means"), ("ICC(2,1) of the scores", "icc")):
            value, note = _smallest(agreements, key)
            yield criterion_check(
                "M3", "noise resilience", label, TRAINED, f"{statistic}, the least", value=value,
                criterion="≥ 0.9", passed=value >= 0.9, note=note,
            )  # fmt: skip
        for statistic, key in (("by the ROPE", "images"), ("however small the gap", "exact")):
            value, note = _smallest(agreements, key)
            yield descriptive_check(
                "M3", "noise resilience on single images", label, TRAINED, f"unchanged ranks {statistic}, the least",
                value=value, note=note,
            )  # fmt: skip


def _smallest(agreements: Mapping[str, Mapping[str, float]], statistic: str) -> tuple[float, str]:
    """The smallest value of a statistic over the kinds of noise, and a text that lists all of them."""
    values = {kind: figures[statistic] for kind, figures in agreements.items()}
    return min(values.values()), ", ".join(f"{kind} {value:.3f}" for kind, value in values.items())


def adversary_checks(bench: Bench) -> Iterator[Check]:
    """M4 and M4b: corrupted maps score worse."""
    for label in bench.labels():
        category = bench.traits(label).category
        if not is_applicable(category, "M4"):
            yield Check(
                id="M4", test="adversary reactivity", metric=label, subject=TRAINED, statistic="", value=None,
                criterion="", verdict="not applicable", note=REQUIREMENTS[category]["M4"],
            )  # fmt: skip
            continue
        truth = oracle_name(bench, label)
        shares = [
            superiority(scores.values(truth, label), scores.values(f"{truth} adverse 0", label), 1)
            for scores in bench.hand_wired.values()
        ]
        yield criterion_check(
            "M4", "shuffled map is worse", label, "hand-wired", "share of images, the least of the models",
            value=min(shares), criterion="≥ 0.95", passed=min(shares) >= 0.95,
        )  # fmt: skip
        yield _adversary_check(bench, label, "shuffled", 0.95, required=True)
        yield _adversary_check(bench, label, "of another image", 0.8, required=False)
        yield _adversary_check(bench, label, "of another model", 0.8, required=False)
        yield _meta_consistency_check(bench, label)


def cliffs_delta(first: Floats, second: Floats) -> float:
    """Cliff's delta: P(first > second) − P(first < second), images not paired."""
    first, second = first[~np.isnan(first)], second[~np.isnan(second)]
    return float(np.sign(first[:, None] - second).mean())


def _adversary_check(bench: Bench, label: str, corruption: str, min_share: float, *, required: bool) -> Check:
    """Share of images and informative maps whose corruption scores worse; ties count half."""
    scores = bench.faces
    names = [name for name in INFORMATIVE_MAPS if scores.has(f"{name} {corruption}", label)]
    shares = {
        name: superiority(scores.values(name, label), scores.values(f"{name} {corruption}", label), 1) for name in names
    }
    share = float(np.mean(list(shares.values())))
    effect = np.mean(
        [cliffs_delta(scores.values(name, label), scores.values(f"{name} {corruption}", label)) for name in names]
    )
    listing = ", ".join(f"{name} {value:.2f}" for name, value in shares.items())
    note = f"{listing}; Cliff's delta {effect:.2f}; n {len(scores.table)}"
    if not required:
        return descriptive_check(
            "M4", f"map {corruption} is worse", label, TRAINED, f"share, hoped ≥ {min_share:g}", value=share, note=note
        )
    return criterion_check(
        "M4", f"{corruption} map is worse", label, TRAINED, "share of images and maps", value=share,
        criterion=f"≥ {min_share:g}", passed=share >= min_share, note=note,
    )  # fmt: skip


def _meta_consistency_check(bench: Bench, label: str) -> Check:
    """MetaQuantus: intra- and inter-consistency under tiny noise and under adversaries, on the hand-wired sum."""
    scores = bench.hand_wired["part_sum"]
    base = scores.values("oracle", label)
    noisy = np.stack([scores.values(f"oracle noisy {k}", label) for k in range(N_PERTURBATIONS)])
    adverse = np.stack([scores.values(f"oracle adverse {k}", label) for k in range(N_PERTURBATIONS)])
    spread = max(float(np.nanstd(adverse)), 1e-9)
    intra_noise = float(np.nanmean(np.abs(noisy - base) <= 0.1 * spread))
    intra_adverse = float(np.nanmean(np.abs(adverse - base) > 0.1 * spread))
    inter_noise, inter_adverse = float(np.nanmean(noisy > adverse)), float(np.nanmean(base[None] > adverse))
    parts = {"IAC_NR": intra_noise, "IAC_AR": intra_adverse, "IEC_NR": inter_noise, "IEC_AR": inter_adverse}
    return descriptive_check(
        "M4b", "meta-consistency, 5 perturbations", label, "part_sum", "MC", value=float(np.mean(list(parts.values()))),
        note=", ".join(f"{name} {value:.2f}" for name, value in parts.items()),
    )  # fmt: skip


def _noise_agreement(
    before: MapScores, after: MapScores, methods: list[str], label: str, bench: Bench
) -> dict[str, float]:
    """Agreement before and after noise: ranks of the methods by their means and on single images, and scores."""
    rows = after.table.index
    first = np.stack([before.table.loc[rows, (method, label)].to_numpy(dtype=np.float64) for method in methods], axis=1)
    second = np.stack([after.values(_noisy_name(after, method), label) for method in methods], axis=1)
    valid = ~(np.isnan(first) | np.isnan(second)).any(axis=1)
    first, second, rope = first[valid], second[valid], bench.protocol.decide.rope
    if not len(first):
        return dict.fromkeys(("means", "images", "exact", "icc"), float("nan"))
    return {
        "means": _rank_agreement_by_rope(first.mean(axis=0, keepdims=True), second.mean(axis=0, keepdims=True), rope),
        "images": _rank_agreement_by_rope(first, second, rope),
        "exact": rank_agreement(first, second),
        "icc": inter_rater.icc(np.stack([first.ravel(), second.ravel()])),
    }


def _rank_agreement_by_rope(first: Floats, second: Floats, rope: float) -> float:
    """Share of the ranks ``(rows, methods)`` without a swap; a swap counts where the gap exceeded the ROPE."""
    swapped = np.zeros(first.shape, dtype=bool)
    for a in range(first.shape[1]):
        gaps = [np.delete(table[:, [a]] - table, a, axis=1) for table in (first, second)]
        crossed = (np.sign(gaps[0]) != np.sign(gaps[1])) & (np.abs(gaps[0]) > rope)
        swapped[:, a] = crossed.any(axis=1)
    return float(1 - swapped.mean())


def rank_agreement(first: Floats, second: Floats) -> float:
    """Share of unchanged ranks, for gaps of any size, as in MetaQuantus."""
    ranks = [rank_rows(table, higher_is_better=True) for table in (first, second)]
    return float((ranks[0] == ranks[1]).mean())


def _noisy_name(table: MapScores, method: str) -> str:
    noisy = f"{method} noisy"
    return noisy if noisy in table.table.columns.get_level_values(0) else method


def _score_tables(bench: Bench) -> Mapping[str, tuple[MapScores, dict[str, MapScores]]]:
    """Per category the scores before noise, and after each kind of it."""
    faces = bench.faces_subject
    methods = [bench.explainer(name) for name in bench.sizes.methods]
    metric_params = bench.select(bench.metric_params, "faithfulness", "localisation", "complexity")

    def score(subject: Subject) -> MapScores:
        bench.notify(f"faces: {subject.name}")
        return score_maps(subject, methods, metric_params, grid=bench.protocol.grid)

    after = {
        "map": bench.faces,
        "image": score(faces.with_transform("noisy images", partial(_noisy_images, seed=bench.seed))),
        "weights": score(
            replace(
                faces.with_transform("noisy weights", lambda batch: batch),
                model=_noisy_weights(faces.model, bench.seed),
            )
        ),
    }
    common = (bench.faces, after)
    robust = (bench.faces_robustness, {"map": _robustness_with_map_noise(bench, methods)})
    return {"faithfulness": common, "localisation": common, "complexity": common, "robustness": robust}


def _robustness_with_map_noise(bench: Bench, methods: list[Component]) -> MapScores:
    """Robustness metrics of the methods with tiny noise on all maps."""
    bench.notify("faces: noisy maps, explained again")
    noisy = [
        reference_maps.transform_map(
            f"{method.name} noisy", reference_maps.cache_map(method), reference_maps.normal_noise(NOISE_40_DB)
        )
        for method in methods
    ]
    metric_params = bench.select(bench.metric_params, "robustness")
    return score_maps(bench.reexplained_subject, noisy, metric_params, grid=bench.protocol.grid, variants=True)


def _noisy_images(batch: Batch, seed: int) -> Batch:
    shape = batch.images.shape[1:]
    noise = seeding.draw_per_image(seed, batch.ids, "image noise", lambda g: 2 * torch.rand(shape, generator=g) - 1)
    return replace(batch, images=(batch.images + IMAGE_NOISE * noise).clamp(0, 1))


def _noisy_weights(model: Model, seed: int) -> Model:
    """The model with normal noise on all weights, a thousandth of each tensor's root mean square."""
    net = copy_network(model.net)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.add_(_weight_noise(weight, seed, name))
    return replace(model, net=net, revision=f"{model.revision}/noisy weights")


def _weight_noise(weight: Tensor, seed: int, name: str) -> Tensor:
    noise = torch.randn(weight.shape, generator=seeding.make_generator(seed, name, "weight noise"))
    return WEIGHT_NOISE * weight.square().mean().sqrt() * noise
