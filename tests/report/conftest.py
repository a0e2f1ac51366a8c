"""A finished run's findings, made up: two models, eight explainers, seven groups, and everything that can go wrong."""

import random
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from mavis.analysis.findings import (
    AcrossModels,
    Agreement,
    CrossChecks,
    CueDetection,
    DataStamp,
    Estimate,
    ExplainerEntry,
    Failure,
    Findings,
    Gap,
    GapToLeader,
    Gate,
    GroupAccuracy,
    GroupLead,
    GroupValue,
    Leak,
    MetricSummary,
    ModelFindings,
    Note,
    PairGap,
    ProtocolStamp,
    Recommendation,
    Refusal,
    Reliability,
    Reliance,
    RunStamp,
    Skill,
    Skipped,
    Validity,
    make_note,
)
from mavis.report import Tile

GROUP_NAMES = ("alder", "birch", "cedar", "elm", "hazel", "maple", "rowan")
MARKUP_NAMES = ("alder", "<script>alert(1)</script>", "R&D", "a_b", "100%", "#1|*x*", "${\\rm x}$ `q` [u](v)")
EXPLAINERS = (
    ("integrated_gradients", "method"),
    ("grad_cam", "method"),
    ("input_x_gradient", "method"),
    ("rise", "method"),
    ("sobel", "control"),
    ("random", "control"),
    ("oracle", "oracle"),
    ("cell_occlusion", "reference"),
)
METRICS = (
    ("nsrg", "faithfulness", True, "", 0.0, 0.4),
    ("nsrg@mean", "faithfulness", True, "", 0.0, 0.42),
    ("nsrg@blur", "faithfulness", True, "", 0.0, 0.38),
    ("srg", "faithfulness", True, "", 0.0, 0.3),
    ("deletion", "faithfulness", False, "", None, 0.35),
    ("insertion", "faithfulness", True, "", None, 0.6),
    ("single_deletion", "faithfulness", True, "", 0.0, 0.45),
    ("relevance_mass", "localisation", True, "", None, 0.3),
    ("pointing_game", "localisation", True, "", None, 0.7),
    ("cue_mass", "localisation", True, "", None, 0.5),
    ("avg_sensitivity_normalised", "robustness", False, "", None, 0.2),
    ("mprt", "randomisation", False, "", 0.0, 0.2),
    ("gini", "complexity", True, "", 0.0, 0.55),
    ("valid", "hygiene", True, "", None, 0.99),
    ("forwards", "cost", False, "passes", None, 256.0),
    ("seconds", "cost", False, "s", None, 0.012),
    ("peak_memory", "cost", False, "MiB", None, 1812.0),
)
DECIDING = {
    "nsrg": "faithfulness",
    "single_deletion": "faithfulness",
    "avg_sensitivity_normalised": "robustness",
    "gini": "complexity",
}
WEIGHTS = {"robustness": 0.235, "faithfulness": 0.588, "worst_group": 0.059, "complexity": 0.118}
NO_ESTIMATE = Estimate(mean=None, low=None, high=None, n=0)


def _estimate(draw: random.Random, centre: float, n: int) -> Estimate:
    mean = centre * draw.uniform(0.8, 1.2)
    half = abs(centre) * 2 / n**0.5
    return Estimate(mean=mean, low=mean - half * 0.9, high=mean + half, n=n)


def _group_value(draw: random.Random, attribute: str, group: str, centre: float, n: int) -> GroupValue:
    if n < 30:
        blank = Estimate(mean=None, low=None, high=None, n=n)
        return GroupValue(attribute=attribute, group=group, estimate=blank, undefined=2, failed=0, suppressed=True)
    return GroupValue(
        attribute=attribute,
        group=group,
        estimate=_estimate(draw, centre, n),
        undefined=120 - n if attribute == "race" and n < 120 else 0,
        failed=0,
        suppressed=False,
        partial_pooled_mean=centre * 0.97 if "*" in attribute else None,
    )


def _pair_gap(first: GroupValue, second: GroupValue, index: int) -> PairGap:
    size = first.estimate.mean - second.estimate.mean
    n = first.estimate.n + second.estimate.n
    return PairGap(
        first=first.group,
        second=second.group,
        raw=Estimate(mean=size, low=size - 0.031, high=size + 0.031, n=n),
        matched=NO_ESTIMATE
        if index == 1
        else Estimate(mean=size * 0.8, low=size * 0.8 - 0.04, high=size * 0.9, n=n // 2),
        adjusted=Estimate(mean=size * 0.7, low=size * 0.7 - 0.05, high=size * 0.7 + 0.05, n=n),
        matched_share=0.0 if index == 1 else 0.5 + index / 100,
        p=None if index == 1 else 0.001 + index / 100,
        equivalent=index % 3 == 0,
    )


def _gap(metric: str, attribute: str, values: Sequence[GroupValue], higher: bool) -> Gap | None:
    shown = [value for value in values if value.attribute == attribute and value.estimate.mean is not None]
    if len(shown) < 2:
        return None
    first, *_, last = sorted(shown, key=lambda value: value.estimate.mean)
    worst, best = (first, last) if higher else (last, first)
    size = last.estimate.mean - first.estimate.mean
    decides, n = metric in DECIDING, sum(value.estimate.n for value in shown)
    found = metric == "nsrg" and attribute == "race"
    return Gap(
        attribute=attribute,
        range=Estimate(mean=size, low=size * 0.7, high=size * 1.3, n=sum(value.estimate.n for value in shown)),
        null_mean=size * 0.45,
        p=0.004,
        best_group=best.group,
        worst_group=worst.group,
        worst_group_mean=worst.estimate,
        n_sufficient=attribute == "race",
        excess=size * 0.55,
        ratio=0.913 if first.estimate.mean > 0 else None,
        shortfall=Estimate(mean=size * 0.41, low=size * 0.3, high=size * 0.6, n=n),
        mean_pairwise=Estimate(mean=size * 0.37, low=None, high=None, n=n),
        corrected_sd=Estimate(mean=size * 0.23, low=0.0, high=size * 0.4, n=n),
        pairs=tuple(_pair_gap(*two, place) for place, two in enumerate(combinations(shown, 2))) if decides else (),
        significant=found if decides else None,
        equivalent=attribute == "gender" if decides else None,
        statement=_statement(metric, attribute, best.group, worst.group) if decides else None,
    )


def _statement(metric: str, attribute: str, best: str, worst: str) -> Note:
    limits = {"subject": metric, "unit": "skill", "too_small": [], "prediction_separates": False}
    if attribute == "race":
        numbers = {"size": 0.081, "interval": [0.044, 0.118], "null_mean": 0.031, "n_other_pairs": 0}
        return make_note("gap.found", lower=worst, higher=best, **numbers, covariates=["brightness"], **limits)
    if attribute == "gender":
        return make_note("gap.equivalent", covariates=["brightness"], margin=0.05, **limits)
    return make_note("gap.too_few_images", groups=[{"group": worst, "n": 60}], min_claim=100)


def _metric_summary(
    draw: random.Random, row: tuple, sizes: dict[str, dict[str, int]], rank: float | None, skill: float
):
    metric, category, higher, unit, chance, centre = row
    if metric == "single_deletion" and skill == 0.9:
        return MetricSummary(
            metric=metric, category=category, higher_is_better=higher, unit=unit, chance=chance, estimate=NO_ESTIMATE,
            weighted_mean=None, undefined=0, failed=840, rank=None, groups=(), gaps=(),
            missing="failed on every image: ContractError",
        )  # fmt: skip
    centre *= skill if higher else 1 / skill
    values = tuple(_group_value(draw, a, g, centre, n) for a, groups in sizes.items() for g, n in groups.items())
    gaps = tuple(gap for attribute in sizes if (gap := _gap(metric, attribute, values, higher)) is not None)
    total = sum(sizes["race"].values())
    return MetricSummary(
        metric=metric, category=category, higher_is_better=higher, unit=unit, chance=chance,
        estimate=_estimate(draw, centre, total), weighted_mean=centre * 1.01, undefined=6, failed=0, rank=rank,
        groups=values, gaps=gaps, missing=None,
    )  # fmt: skip


def _gates(passed: bool) -> tuple[Gate, ...]:
    absent = {"metric": "mprt", "explainers": []}
    return (
        Gate(id="G0", code="G0.valid", passed=True, value=1.0, threshold=0.95),
        Gate(id="G3", code="open.no_values", passed=None, value=None, threshold=0.5, values=absent, impossible=True)
        if passed else Gate(id="G3", code="G3.partly_changed", passed=False, value=0.71, threshold=0.5,
                            values={"high": 0.733, "max_upper": 0.65}),
        Gate(id="G4", code="G4.class_specific", passed=True, value=0.4, threshold=0.8, values={"unsigned": False})
        if passed else Gate(id="G4", code="open.no_values", passed=None, value=None, threshold=0.8,
                            values={"metric": "random_logit", "explainers": []}),
        Gate(id="G5", code="G5.lead", passed=True, value=0.11, threshold=0.02,
             values={"metric": "nsrg", "against": ["sobel"], "hardest": "sobel", "mean": 0.134, "unavailable": {}}),
    )  # fmt: skip


def _entry(draw: random.Random, index: int, name: str, role: str, sizes: dict[str, dict[str, int]]) -> ExplainerEntry:
    method = role == "method"
    skill = {"control": 0.2, "oracle": 1.4, "reference": 1.3}.get(role, 1.1 - 0.1 * index)
    if name == "rise":
        return ExplainerEntry(
            explainer=name, role="method", about="Mean of random masks weighted by the model's answers.", metrics=(),
            gates=(), eligible=False, rank=None, missing="needs 'forward' by batches of 1, which the model lacks",
        )  # fmt: skip
    rank = float(index + 1) if method else None
    skills = _skills(round(skill, 1), tuple(sizes["race"]))
    return ExplainerEntry(
        explainer=name, role=role, about=f"What {name} is.",
        metrics=tuple(_metric_summary(draw, row, sizes, rank, round(skill, 1)) for row in METRICS),
        gates=_gates(name != "input_x_gradient") if method else (), eligible=method and name != "input_x_gradient",
        rank=rank, rank_low=1.0 if method else None, rank_high=index + 2.0 if method else None,
        skills=skills, categories={} if name == "cell_occlusion" else _categories(skills),
        overall=None if name == "cell_occlusion" else Estimate(mean=0.83 * skill, low=0.79 * skill, high=0.86 * skill,
                                                               n=717),
        dominated_by="integrated_gradients" if name == "grad_cam" else None, missing=None,
    )  # fmt: skip


def _skills(level: float, groups: Sequence[str]) -> tuple[Skill, ...]:
    return tuple(
        Skill(
            metric=metric,
            category=category,
            skill=Estimate(mean=level * (0.7 + 0.1 * place), low=level * 0.6, high=level * 1.1, n=717 - place),
            groups={group: level * (0.6 + 0.03 * at) for at, group in enumerate(groups) if at != 5},
        )
        for place, (metric, category) in enumerate(DECIDING.items())
    )


def _categories(skills: Sequence[Skill]) -> dict[str, Estimate]:
    found = {skill.category: skill.skill for skill in skills}
    return {**found, "worst_group": Estimate(mean=0.517, low=None, high=None, n=96)}


def _validity(draw: random.Random, sizes: dict[str, int], level: float, cue: bool) -> Validity:
    groups = []
    for group, n in sizes.items():
        share = min(0.97, level * draw.uniform(0.8, 1.1))
        correct = round(share * n)
        groups.append(
            GroupAccuracy(attribute="race", group=group, correct=correct,
                          estimate=Estimate(mean=correct / n, low=correct / n - 0.07, high=correct / n + 0.05, n=n),
                          weak=cue and len(groups) == 2, calibration_error=0.02 + 0.01 * len(groups))
        )  # fmt: skip
    return Validity(
        accuracy=Estimate(mean=level, low=level - 0.02, high=level + 0.02, n=sum(sizes.values())),
        balanced_accuracy=Estimate(mean=level - 0.011, low=level - 0.031, high=level + 0.012, n=sum(sizes.values())),
        chance=1 / 7, better_than_chance=True, groups=tuple(groups),
        cue={"agrees": 0.953, "disagrees": 0.214} if cue else {},
        remarks=(make_note("remark.never_predicted", classes=["<elm>"]),),
        calibration_error=0.043,
        recall=tuple(
            GroupAccuracy(attribute="label", group=group, correct=n // 2 + at,
                          estimate=Estimate(mean=(n // 2 + at) / n, low=0.401, high=0.677, n=n))
            for at, (group, n) in enumerate(sizes.items())
        ),
        leak=Leak(known=True, exact=12, near=3, rate=0.0209, groups=dict.fromkeys(sizes, 0.021), excessive=True)
        if cue else Leak(known=False, exact=0, near=0, rate=None, groups={}, excessive=False),
        reliance=() if cue else tuple(
            Reliance(part=part, change=Estimate(mean=size, low=size * 0.9, high=size * 1.1, n=717), used=size > 0.5)
            for part, size in (("brows", 0.211), ("eyes", 3.417), ("mouth <b>", 1.253))
        ),
        truth_verified=not cue,
    )  # fmt: skip


def _overall(mean: float) -> Estimate:
    return Estimate(mean=mean, low=mean - 0.029, high=mean + 0.031, n=717)


RECOMMENDED = Recommendation(
    status="tied",
    leader="integrated_gradients",
    set=("integrated_gradients", "grad_cam"),
    pick="grad_cam",
    pick_reason=make_note("pick.cheapest", cost=3.0, next_cost=150.0),
    refusals=(),
    overall={"integrated_gradients": _overall(0.437), "grad_cam": _overall(0.421)},
    leader_categories={"faithfulness": 0.45, "robustness": 0.4, "worst_group": 0.35, "complexity": 0.5},
    gaps_to_leader=(GapToLeader(explainer="grad_cam", mean=0.016, lower_bound=-0.004, is_worse=False),),
    group_leads=(GroupLead(group="birch", explainer="grad_cam", mean=0.044, lower_bound=0.021),),
    other_leaders={"mean_rank": "input_x_gradient"},
    prob_best={"integrated_gradients": 0.633, "grad_cam": 0.367, "input_x_gradient": 0.0},
    weights=WEIGHTS,
    floor="random",
    ceiling="oracle",
    rope=0.02,
    provisional=(make_note("provisional.gate", gate="G3", explainers=["integrated_gradients", "grad_cam"]),),
    not_assessed=(
        make_note("metric.parts_unknown", metric="relevance_mass"),
        make_note("left_out.methods", explainers=["rise"], reason="the model has <no> batches"),
    ),
    cross_checks=CrossChecks(
        borda={"integrated_gradients": 0.917, "grad_cam": 0.583, "input_x_gradient": 0.111},
        mean_rank={"integrated_gradients": 1.25, "grad_cam": 1.75, "input_x_gradient": 3.5},
        smaa={"integrated_gradients": 0.721, "grad_cam": 0.279, "input_x_gradient": 0.0},
        concordance=0.712,
        concordance_within=0.934,
        concordance_upper=0.851,
        leaders={"nsrg@mean": ("integrated_gradients",), "nsrg@blur": ("grad_cam", "integrated_gradients"), "nsrg": ()},
    ),
)
REFUSED = RECOMMENDED.model_copy(
    update={
        "status": "refused",
        "set": (),
        "pick": None,
        "pick_reason": None,
        "refusals": (
            Refusal(
                code="R1",
                kind="R1.groups",
                values={"attribute": "race", "groups": [{"group": "cedar", "correct": 20, "n": 96}]},
            ),
            Refusal(
                code="R11", kind="R11.overrides", values={"protocol": "quick", "overrides": ["data.n_per_group = 120"]}
            ),
        ),
        "prob_best": {"integrated_gradients": 0.517, "grad_cam": 0.483},
        "weights": {},
        "leader_categories": {},
        "group_leads": (),
        "other_leaders": {},
        "provisional": (),
        "not_assessed": (),
        "cross_checks": CrossChecks(borda={}, mean_rank={}, smaa={}, concordance=None, leaders={}),
    }
)


PROTOCOL_STAMP = ProtocolStamp(
    name="quick", status="preview", sha256="ab" * 32, overrides=("data.n_per_group.target = 120",), primary="nsrg",
    confidence=0.95, min_report=30, min_claim=100,
)  # fmt: skip
RUN_STAMP = RunStamp(
    mavis="0.1.0", versions={"torch": "2.13.0", "python": "3.12.3"}, device="cpu (2 threads)", seed=20261121,
    git="c0ffee1", forwards=1234567, backwards=8901, seconds=171.4, peak_memory_mib=1812.4, blocks_done=59,
    blocks_planned=60,
)  # fmt: skip


def _failures() -> tuple[Failure, ...]:
    trace = 'Traceback (most recent call last):\n  File "rise.py", line 3\nValueError: expected <b> & got "c"'
    same = [
        Failure(stage="explain", model="faces-biased", explainer="rise", metric=None, images=24, type="ValueError",
                message='expected <b> & got "c"', traceback=trace)
        for _ in range(35)
    ]  # fmt: skip
    other = Failure(
        stage="score", model="faces-balanced", explainer="grad_cam", metric="single_deletion", images=840,
        type="ContractError", message="A metric must return (B,) = (8,), got (8,1).", traceback="",
    )  # fmt: skip
    return (*same, other)


def _reliability(race: dict[str, int]) -> tuple[Reliability, ...]:
    kept = Estimate(mean=0.9, low=0.85, high=0.93, n=717)
    groups = [
        GroupAccuracy(attribute="race", group=name, correct=n // 2, estimate=kept.model_copy(update={"n": n}))
        for name, n in race.items()
    ]
    return (
        Reliability(imputer="mean", fraction=0.1, kept=kept, groups=tuple(groups), reliable=True, uneven=()),
        Reliability(imputer="blur", fraction=0.5, kept=kept, groups=(), reliable=None, uneven=("race", "race*gender")),
    )


def _agreement() -> tuple[Agreement, ...]:
    measures = {"feature": 0.31, "rank": 0.02, "sign": 0.25, "spearman": 0.41}
    return (
        Agreement(first="grad_cam", second="rise", n=700, measures=measures, groups={"race": {}}),
        Agreement(first="rise", second="input_x_gradient", n=717, measures={**measures, "spearman": 0.62}, groups={}),
    )


def make_findings(
    groups: Sequence[str] = GROUP_NAMES, models: Sequence[str] = ("faces-balanced", "faces-biased")
) -> Findings:
    """Findings with seven groups of these names."""
    draw = random.Random(7)
    race = dict(zip(groups, (120, 120, 96, 120, 120, 21, 120), strict=True))
    sizes = {
        "race": race,
        "gender": {"form_a": 360, "form_b": 357},
        "race*gender": {f"{name}*{form}": n // 2 for name, n in race.items() for form in ("form_a", "form_b")},
    }
    found = [
        ModelFindings(
            model=model,
            revision=f"sha256:{'0123456789abcdef' * 4}",
            card={"recipe": "balanced", "seed": 3},
            validity=_validity(draw, race, 0.87 - 0.12 * place, cue=bool(place)),
            explainers=tuple(_entry(draw, i, name, role, sizes) for i, (name, role) in enumerate(EXPLAINERS)),
            recommendation=REFUSED if place else RECOMMENDED,
            reliability=_reliability(race),
            agreement=_agreement(),
        )
        for place, model in enumerate(models)
    ]
    return Findings(
        protocol=PROTOCOL_STAMP,
        data=DataStamp(
            name="faces(recipe=balanced)", target="race", classes=tuple(groups), images=sum(race.values()),
            groups=sizes,
            provenance="Drawn by MAVIS; the labels are parameters.", revision="sha256:feed",
            notes=("3 images were unreadable.",),
        ),
        run=RUN_STAMP,
        models=tuple(found),
        twins=tuple(
            CueDetection(leaning="faces-biased", other="faces-balanced", explainer=name, reliance=(0.2, 0.01),
                 more_reliance=Estimate(mean=0.19, low=0.12, high=0.26, n=700),
                 auroc=Estimate(mean=0.8, low=0.75, high=0.85, n=200),
                 higher=Estimate(mean=0.9, low=0.85, high=0.95, n=200))
            for name, _ in EXPLAINERS if len(models) > 1
        ),
        across_models=AcrossModels(
            blocks=6, mean_ranks={"grad_cam": 1.917, "integrated_gradients": 1.083, "input_x_gradient": 3.0},
            friedman_p=0.0123, critical_difference=1.354,
            leader_vs_next={"below": 0.031, "within": 0.157, "above": 0.812},
        ) if len(models) > 1 else None,
        failures=_failures(),
        skipped=(
            *(Skipped(model="faces", explainers=("occlusion",), metrics=(f"metric_{i}",),
                      reason="the model lacks 'gradient'") for i in range(40)),
            Skipped(model="faces", explainers=("oracle",), metrics=(), reason="no planted truth"),
        ),
        caveats=(make_note("caveat.scope"), make_note("caveat.labels"), make_note("caveat.demoted", metrics=["gini"])),
    )  # fmt: skip


@pytest.fixture
def build_findings() -> Callable[..., Findings]:
    """The builder, for other groups or models."""
    return make_findings


@pytest.fixture(scope="session")
def findings() -> Findings:
    """Two models and seven groups with peaceful names."""
    return make_findings()


@pytest.fixture(scope="session")
def large_findings() -> Findings:
    """One model and sixty-three explainers: 57 methods, 20 of them stopped by G3."""
    found = make_findings(models=("one",))
    model = found.models[0]
    first, stopped = model.explainers[0], model.explainers[2]
    more = [first.model_copy(update={"explainer": f"method_{i}", "rank": 5.0 + i}) for i in range(34)]
    more += [stopped.model_copy(update={"explainer": f"stopped_{i}", "rank": 40.0 + i}) for i in range(19)]
    return found.model_copy(update={"models": (model.model_copy(update={"explainers": (*model.explainers, *more)}),)})


@pytest.fixture(scope="session")
def hostile() -> Findings:
    """The same with group names made of markup."""
    return make_findings(MARKUP_NAMES, models=("<img src=x onerror=alert(2)>", "50%_#&"))


@pytest.fixture(scope="session")
def curves() -> pd.DataFrame:
    """Falling curves for every explainer that has maps: over all images, and per group."""
    rows = []
    for model in ("faces-balanced", "faces-biased"):
        for place, (explainer, _) in enumerate(row for row in EXPLAINERS if row[0] != "rise"):
            for group in ("", *GROUP_NAMES):
                for imputer in ("mean", "blur"):
                    for order, power in (("mif", 0.3 + 0.1 * place), ("lif", 2.5 - 0.2 * place)):
                        for x in np.linspace(0, 1, 11):
                            y = 0.9 - 0.75 * x**power
                            rows.append((model, explainer, imputer, order, x, "race" if group else "", group, y, 120))
    columns = ["model", "explainer", "imputer", "order", "x", "attribute", "group", "mean", "n"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="session")
def tiles() -> list[Tile]:
    """An image per group and model, and each explainer's map of it; signed but for grad_cam."""
    noise = np.random.default_rng(3)
    y, x = np.mgrid[0:64, 0:64]
    found = []
    for model in ("faces-balanced", "faces-biased"):
        for place, group in enumerate(GROUP_NAMES):
            disc = ((x - 32) ** 2 / 400 + (y - 34) ** 2 / 620 < 1)[..., None]
            image = np.where(disc, [220 - 18 * place, 180 - 15 * place, 150], [90, 120 + 12 * place, 160])
            image = np.clip(image + noise.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
            for explainer, role in EXPLAINERS:
                if explainer == "rise":
                    continue
                signed = np.exp(-((x - 24 - 2 * place) ** 2 + (y - 30) ** 2) / 90) - 0.6 * np.exp(
                    -((x - 44) ** 2 + (y - 42) ** 2) / 60
                )
                values = np.abs(signed) if explainer == "grad_cam" else signed
                values = values + noise.normal(0, 0.03, values.shape) * (explainer != "grad_cam")
                found.append(
                    Tile(model=model, explainer=explainer, role=role, image_id=f"{group}-001",
                         groups={"race": group, "gender": "form_a"}, label=group, predicted=GROUP_NAMES[place // 2 * 2],
                         probability=0.5 + place / 20, image=image, map=(values * 0.2).astype(np.float32))
                )  # fmt: skip
    return found
