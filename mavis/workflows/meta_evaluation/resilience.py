"""M3, M4 and M4b: what does not matter changes no score; what matters does."""

import copy
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
from mavis.core.types import Batch, Model
from mavis.engine.planning.plan import Part
from mavis.workflows.meta_evaluation import reference_maps
from mavis.workflows.meta_evaluation.applicability import APPLIES, applies
from mavis.workflows.meta_evaluation.fixtures import DECIBEL_40, INFORMED, TRAINED, Bench
from mavis.workflows.meta_evaluation.known_order import better, truth_of
from mavis.workflows.meta_evaluation.results import Check, asked, reported
from mavis.workflows.meta_evaluation.scoring import Scores, Subject, scored

IMAGE_NOISE, WEIGHT_NOISE = 1 / 255, 1e-3
PERTURBATIONS = 5


def noise_checks(bench: Bench) -> Iterator[Check]:
    """M3 for every deciding metric: the scores of the methods, and their order, under tiny noise."""
    tables = _tables(bench)
    for label in bench.labels():
        before, after = tables[bench.traits(label).category]
        methods = [m for m in bench.sizes.methods if before.has(m, label)]
        found = {what: _kept(before, table, methods, label, bench) for what, table in after.items()}
        for statistic, place in (("unchanged ranks of the methods", "means"), ("ICC(2,1) of the scores", "icc")):
            value, note = _least(found, place)
            yield asked(
                "M3", "noise resilience", label, TRAINED, f"{statistic}, the least", value=value,
                criterion="≥ 0.9", passed=value >= 0.9, note=note,
            )  # fmt: skip
        for statistic, place in (("by the ROPE", "images"), ("however small the gap", "exact")):
            value, note = _least(found, place)
            yield reported(
                "M3", "noise resilience on single images", label, TRAINED, f"unchanged ranks {statistic}, the least",
                value=value, note=note,
            )  # fmt: skip


def _least(found: Mapping[str, Mapping[str, float]], place: str) -> tuple[float, str]:
    """The smallest of a figure over the kinds of noise, and all of them in words."""
    values = {what: kept[place] for what, kept in found.items()}
    return min(values.values()), ", ".join(f"{what} {value:.3f}" for what, value in values.items())


def adversary_checks(bench: Bench) -> Iterator[Check]:
    """M4 and M4b: corrupted maps score worse."""
    for label in bench.labels():
        category = bench.traits(label).category
        if not applies(category, "M4"):
            yield Check(
                id="M4", test="adversary reactivity", metric=label, subject=TRAINED, statistic="", value=None,
                criterion="", verdict="not applicable", note=APPLIES[category]["M4"],
            )  # fmt: skip
            continue
        truth = truth_of(bench, label)
        wired = [better(s.of(truth, label), s.of(f"{truth} adverse 0", label), 1) for s in bench.wired.values()]
        yield asked(
            "M4", "shuffled map is worse", label, "hand-wired", "share of images, the least of the models",
            value=min(wired), criterion="≥ 0.95", passed=min(wired) >= 0.95,
        )  # fmt: skip
        yield _against(bench, label, "shuffled", 0.95, required=True)
        yield _against(bench, label, "of another image", 0.8, required=False)
        yield _against(bench, label, "of another model", 0.8, required=False)
        yield _consistency(bench, label)


def delta(first: Floats, second: Floats) -> float:
    """Cliff's delta: P(first > second) − P(first < second), images not paired."""
    first, second = first[~np.isnan(first)], second[~np.isnan(second)]
    return float(np.sign(first[:, None] - second).mean())


def _against(bench: Bench, label: str, what: str, least: float, *, required: bool) -> Check:
    """Share of images and informed maps whose corruption scores worse; ties count half."""
    s = bench.faces
    names = [name for name in INFORMED if s.has(f"{name} {what}", label)]
    shares = {name: better(s.of(name, label), s.of(f"{name} {what}", label), 1) for name in names}
    share = float(np.mean(list(shares.values())))
    effect = np.mean([delta(s.of(name, label), s.of(f"{name} {what}", label)) for name in names])
    words = ", ".join(f"{name} {value:.2f}" for name, value in shares.items())
    note = f"{words}; Cliff's delta {effect:.2f}; n {len(s.table)}"
    if not required:
        return reported(
            "M4", f"map {what} is worse", label, TRAINED, f"share, hoped ≥ {least:g}", value=share, note=note
        )
    return asked(
        "M4", f"{what} map is worse", label, TRAINED, "share of images and maps", value=share,
        criterion=f"≥ {least:g}", passed=share >= least, note=note,
    )  # fmt: skip


def _consistency(bench: Bench, label: str) -> Check:
    """MetaQuantus: intra- and inter-consistency under tiny noise and under adversaries, on the hand-wired sum."""
    s = bench.wired["part_sum"]
    base = s.of("oracle", label)
    tiny = np.stack([s.of(f"oracle noisy {k}", label) for k in range(PERTURBATIONS)])
    bad = np.stack([s.of(f"oracle adverse {k}", label) for k in range(PERTURBATIONS)])
    spread = max(float(np.nanstd(bad)), 1e-9)
    intra_noise = float(np.nanmean(np.abs(tiny - base) <= 0.1 * spread))
    intra_bad = float(np.nanmean(np.abs(bad - base) > 0.1 * spread))
    inter_noise, inter_bad = float(np.nanmean(tiny > bad)), float(np.nanmean(base[None] > bad))
    parts = {"IAC_NR": intra_noise, "IAC_AR": intra_bad, "IEC_NR": inter_noise, "IEC_AR": inter_bad}
    return reported(
        "M4b", "meta-consistency, 5 perturbations", label, "part_sum", "MC", value=float(np.mean(list(parts.values()))),
        note=", ".join(f"{name} {value:.2f}" for name, value in parts.items()),
    )  # fmt: skip


def _kept(before: Scores, after: Scores, methods: list[str], label: str, bench: Bench) -> dict[str, float]:
    """What noise leaves: places of the methods by their means and on single images, and scores."""
    rows = after.table.index
    first = np.stack([before.table.loc[rows, (m, label)].to_numpy(dtype=np.float64) for m in methods], axis=1)
    second = np.stack([after.of(_noisy_name(after, m), label) for m in methods], axis=1)
    there = ~(np.isnan(first) | np.isnan(second)).any(axis=1)
    first, second, rope = first[there], second[there], bench.rules.decide.rope
    if not len(first):
        return dict.fromkeys(("means", "images", "exact", "icc"), float("nan"))
    return {
        "means": _same_order(first.mean(axis=0, keepdims=True), second.mean(axis=0, keepdims=True), rope),
        "images": _same_order(first, second, rope),
        "exact": exact_ranks(first, second),
        "icc": inter_rater.icc(np.stack([first.ravel(), second.ravel()])),
    }


def _same_order(first: Floats, second: Floats, rope: float) -> float:
    """Share of the places ``(rows, methods)`` that no swap moved; a swap counts where the gap exceeded the ROPE."""
    swapped = np.zeros(first.shape, dtype=bool)
    for a in range(first.shape[1]):
        gaps = [np.delete(t[:, [a]] - t, a, axis=1) for t in (first, second)]
        crossed = (np.sign(gaps[0]) != np.sign(gaps[1])) & (np.abs(gaps[0]) > rope)
        swapped[:, a] = crossed.any(axis=1)
    return float(1 - swapped.mean())


def exact_ranks(first: Floats, second: Floats) -> float:
    """Share of unchanged ranks, however small the gap: what MetaQuantus counts."""
    ranks = [rank_rows(table, higher_is_better=True) for table in (first, second)]
    return float((ranks[0] == ranks[1]).mean())


def _noisy_name(table: Scores, method: str) -> str:
    noisy = f"{method} noisy"
    return noisy if noisy in table.table.columns.get_level_values(0) else method


def _tables(bench: Bench) -> Mapping[str, tuple[Scores, dict[str, Scores]]]:
    """Per category the scores before, and after each kind of noise."""
    on = bench.faces_subject
    methods = [bench.part(name) for name in bench.sizes.methods]
    asked_of = bench.asked(bench.settings, "faithfulness", "localisation", "complexity")

    def again(subject: Subject) -> Scores:
        bench.tell(f"faces: {subject.name}")
        return scored(subject, methods, asked_of, grid=bench.rules.grid)

    after = {
        "map": bench.faces,
        "image": again(on.edited("noisy images", partial(_noisy_images, seed=bench.seed))),
        "weights": again(replace(on.edited("noisy weights", lambda b: b), model=_noisy_weights(on.model, bench.seed))),
    }
    common = (bench.faces, after)
    robust = (bench.again, {"map": _steadiness(bench, methods)})
    return {"faithfulness": common, "localisation": common, "complexity": common, "robustness": robust}


def _steadiness(bench: Bench, methods: list[Part]) -> Scores:
    """Robustness metrics of the methods whose every map carries tiny noise."""
    bench.tell("faces: noisy maps, explained again")
    noisy = [
        reference_maps.changed(f"{m.name} noisy", reference_maps.shared(m), reference_maps.noisy(DECIBEL_40))
        for m in methods
    ]
    asked_of = bench.asked(bench.settings, "robustness")
    return scored(bench.again_subject, noisy, asked_of, grid=bench.rules.grid, variants=True)


def _noisy_images(batch: Batch, seed: int) -> Batch:
    shape = batch.images.shape[1:]
    noise = seeding.draw(seed, batch.ids, "image noise", lambda g: 2 * torch.rand(shape, generator=g) - 1)
    return replace(batch, images=(batch.images + IMAGE_NOISE * noise).clamp(0, 1))


def _noisy_weights(model: Model, seed: int) -> Model:
    """Every weight changed by normal noise of a thousandth of its tensor's root mean square."""
    net = copy.deepcopy(model.net)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.add_(_weight_noise(weight, seed, name))
    return replace(model, net=net, revision=f"{model.revision}/noisy weights")


def _weight_noise(weight: Tensor, seed: int, name: str) -> Tensor:
    noise = torch.randn(weight.shape, generator=seeding.generator(seed, name, "weight noise"))
    return WEIGHT_NOISE * weight.square().mean().sqrt() * noise
