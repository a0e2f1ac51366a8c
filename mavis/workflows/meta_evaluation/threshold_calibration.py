"""Calibration of the protocol's thresholds that no paper gives: each with its measurements on embedded faces."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats as scipy_stats

from mavis.analysis.statistics.bootstrap import Floats
from mavis.analysis.statistics.ranking import kendall_w, rank_rows
from mavis.core.attribution_maps import Maps, spearman
from mavis.core.model_pass import Pass
from mavis.core.types import Model
from mavis.models.loading import checkpoint
from mavis.models.preparation import prepare
from mavis.workflows.meta_evaluation import reference_maps
from mavis.workflows.meta_evaluation.fixtures import BIASED, TRAINED, Bench
from mavis.workflows.meta_evaluation.inter_image_reliability import images_needed, score_matrix
from mavis.workflows.meta_evaluation.results import Check, Threshold, finite_values
from mavis.workflows.meta_evaluation.scoring import CHUNK_SIZE, Subject, load_subject, score_maps

POWER_FACTOR = float(scipy_stats.norm.ppf(0.975) + scipy_stats.norm.ppf(0.8))
"""Size of a difference, in standard errors, that 80 of 100 two-sided tests at .05 find."""

N_RANDOM_RANKINGS = 5000


def calibrate_thresholds(
    bench: Bench, checks: tuple[Check, ...], retrained_model: Path | None, command: str
) -> Iterator[Threshold]:
    """Every threshold that the specification calls a judgement.

    Args:
        bench: the score tables.
        checks: results of the tests.
        retrained_model: a folder with the trained model from another seed; without one the biased model stands for it.
        command: the command that repeats the measurement.
    """
    rows = [
        _randomisation_row(bench, retrained_model),
        _replicate_row(bench),
        *_margin_rows(bench),
        *_sample_size_rows(bench),
    ]
    rows += [_tau_row(bench, checks), _concordance_row(bench), _headroom_row(bench)]
    for name, value, measured, verdict in rows:
        yield Threshold(threshold=name, value=value, measured=finite_values(measured), command=command, verdict=verdict)


ThresholdRow = tuple[str, float, Mapping[str, float], str]


def _randomisation_row(bench: Bench, retrained_model: Path | None) -> ThresholdRow:
    """G3: similarity of maps to those of a second training, and to those of a randomised model."""
    bench.notify("thresholds: trained twins and randomised models")
    subject = bench.reexplained_subject
    second_model, name = _second_model(subject, retrained_model)
    similarities = {
        method: _map_similarity(bench, subject, second_model, method) for method in (*bench.sizes.methods, "sobel")
    }
    components = [bench.explainer(name) for name in (*bench.sizes.methods, "sobel")]
    scores = score_maps(subject, components, {"mprt": {"repeats": 1}}, grid=bench.protocol.grid, variants=True)
    measured = {f"twins ({name}): {method}": value for method, value in similarities.items()}
    measured |= {f"randomised: {component.name}": scores.mean(component.name, "mprt") for component in components}
    limit = bench.protocol.gates.randomisation.max
    exceeding = [method for method in bench.sizes.methods if scores.mean(method, "mprt") > limit]
    unseparated = [method for method in bench.sizes.methods if scores.mean(method, "mprt") > similarities[method]]
    verdict = (
        f"an edge detector has 1 and no method's randomised maps are beyond {limit:g}" if not exceeding
        else f"beyond {limit:g} when randomised: {', '.join(exceeding)}"
    )  # fmt: skip
    verdict += (
        "; every method is less like its randomised map than like its twin's" if not unseparated
        else f"; as like the randomised map as the twin's: {', '.join(unseparated)}"
    )  # fmt: skip
    return "gates.randomisation.max", limit, measured, verdict


def _second_model(subject: Subject, folder: Path | None) -> tuple[Model, str]:
    if folder is None:
        return load_subject(
            BIASED, "synthetic_faces", {}, per_group=1, attribute="race", seed=subject.seed
        ).model, BIASED
    return prepare.prepare_model(checkpoint.load(folder), torch.device("cpu"))[0], "another seed"


def _map_similarity(bench: Bench, subject: Subject, second_model: Model, method: str) -> float:
    """Mean Spearman of absolute cell values of two models' maps of the same classes."""
    component = bench.explainer(method)
    targets = torch.tensor(subject.predictions["predicted"].to_numpy())
    cells = []
    for model in (subject.model, second_model):
        model_pass = Pass(model, subject.load(subject.ids), subject.data.mean, subject.seed, CHUNK_SIZE)
        cells.append(
            Maps.from_values(
                reference_maps.cache_map(component)(model_pass, targets)[:, 0], bench.protocol.grid
            ).cells.abs()
        )
    return float(np.nanmean(spearman(*cells).numpy()))


def _replicate_row(bench: Bench) -> ThresholdRow:
    bench.notify("thresholds: two seeds of one method")
    names = [name for name in bench.sizes.methods if bench.explainer(name).traits.stochastic]
    components = [bench.explainer(name) for name in (*names, "random")]
    scores = score_maps(
        bench.reexplained_subject, components, {"replicate_agreement": {}}, grid=bench.protocol.grid, variants=True
    )
    measured = {component.name: scores.mean(component.name, "replicate_agreement") for component in components}
    limit = 0.8 if bench.protocol.gates.determinism is None else bench.protocol.gates.determinism.min
    stable = [name for name in names if measured[name] >= limit]
    verdict = f"at or above: {', '.join(stable) or 'none'}; random maps far below"
    return "gates.determinism.min", limit, measured, verdict


def score_spread(bench: Bench) -> tuple[float, float]:
    """Standard deviation of the primary metric's paired differences (median over pairs), and of its scores."""
    _, values = score_matrix(bench, bench.protocol.decide.primary)
    pairs = [values[:, a] - values[:, b] for a in range(values.shape[1]) for b in range(a)]
    return float(np.median([pair.std(ddof=1) for pair in pairs])), float(np.median(values.std(axis=0, ddof=1)))


def _margin_rows(bench: Bench) -> Iterator[ThresholdRow]:
    """Differences that a run of the protocol's size can distinguish from zero."""
    paired, single = score_spread(bench)
    target = bench.protocol.data.n_per_group.target
    n = target * len(bench.faces_subject.data.classes)
    two_errors = 2 * paired / n**0.5
    measured = {"SD of paired differences": paired, "images": float(n), "two standard errors": two_errors}
    for name, value in (
        ("decide.rope", bench.protocol.decide.rope),
        ("gates.controls.margin", bench.protocol.gates.controls.margin),
    ):
        verdict = "two standard errors are below it" if two_errors <= value else "a run of this size cannot resolve it"
        yield name, value, measured, verdict
    claim, margin = bench.protocol.disparity.claim, bench.protocol.disparity.equivalence
    error = single * (2 / target) ** 0.5
    measured_gap = {"SD of scores": single, "images of a group": float(target), "standard error of a gap": error}
    yield (
        "disparity.claim", claim, measured_gap | {"smallest gap found with power .8": POWER_FACTOR * error + claim},
        "a margin against trifles, not against noise: noise is what the interval is for",
    )  # fmt: skip
    half_interval = float(scipy_stats.norm.ppf(0.95)) * error
    verdict = (
        "reachable: the 90 % interval of no gap fits in"
        if half_interval < margin
        else "not reachable at this n: more images"
    )
    yield "disparity.equivalence", margin, measured_gap | {"half a 90 % interval": half_interval}, verdict


def _sample_size_rows(bench: Bench) -> Iterator[ThresholdRow]:
    """Images that separate the methods, and the differences that such numbers detect."""
    _, single = score_spread(bench)
    needed = {label: images_needed(score_matrix(bench, label)[1]) for label in bench.labels()}
    sizes = bench.protocol.data.n_per_group
    for name, n in (("min_report", sizes.min_report), ("min_claim", sizes.min_claim)):
        measured: dict[str, float] = {
            f"images for ICC .9: {m}": float("nan") if k is None else float(k) for m, k in needed.items()
        }
        measured["smallest gap found with power .8"] = POWER_FACTOR * single * (2 / n) ** 0.5
        enough = [m for m, k in needed.items() if k is not None and k <= n]
        yield (
            f"data.n_per_group.{name}", float(n), measured,
            f"enough to separate the methods on {len(enough)} of {len(needed)} metrics",
        )  # fmt: skip


def _tau_row(bench: Bench, checks: tuple[Check, ...]) -> ThresholdRow:
    taus = {
        str(c.metric): float("nan") if c.value is None else c.value
        for c in checks
        if c.id == "M7" and c.statistic.startswith("mean Kendall")
    }
    limit = bench.protocol.sensitivity.min_tau if bench.protocol.sensitivity else 0.7
    below = [m for m, tau in taus.items() if not tau >= limit]
    return "sensitivity.min_tau", limit, taus, f"below it: {', '.join(below) or 'none'}"


def _concordance_row(bench: Bench) -> ThresholdRow:
    """R5: concordance of the deciding metrics' rankings of the methods, against random rankings."""
    methods, labels = bench.sizes.methods, bench.labels()
    means = np.array([[bench.sign(m) * score_matrix(bench, m)[0].mean(e, m) for e in methods] for m in labels])
    complete = means[~np.isnan(means).any(axis=1)]
    w = kendall_w(rank_rows(complete, higher_is_better=True))
    faithful = [k for k, m in enumerate(labels) if bench.traits(m).category == "faithfulness"]
    w_faithfulness = kendall_w(rank_rows(means[faithful], higher_is_better=True))
    chance = float(np.quantile(random_concordances(len(complete), len(methods), bench.seed), 0.95))
    limit = bench.protocol.decide.min_concordance
    measured = {
        "W of the deciding metrics": w,
        "W of the faithfulness metrics": w_faithfulness,
        "95th percentile by chance": chance,
    }
    verdict = f"rankings at random reach {chance:.2f} in one of 20 cases; the metrics have {w:.2f}"
    return "decide.min_concordance", limit, measured, verdict


def random_concordances(n_metrics: int, n_methods: int, seed: int) -> Floats:
    """Kendall's W of ``n_metrics`` random rankings of ``n_methods``, `N_RANDOM_RANKINGS` values."""
    generator = np.random.default_rng([seed, 5])
    ranks = generator.random((N_RANDOM_RANKINGS, n_metrics, n_methods)).argsort(axis=2) + 1.0
    totals = ranks.sum(axis=1)
    squares = np.square(totals - totals.mean(axis=1, keepdims=True)).sum(axis=1)
    return np.asarray(12 * squares / (n_metrics**2 * (n_methods**3 - n_methods)), dtype=np.float64)


def _headroom_row(bench: Bench) -> ThresholdRow:
    """Share of images that the minimum headroom leaves without a score.

    Below it a score divides noise by a difference close to zero.
    """
    label = bench.protocol.decide.imputers[0]
    min_headroom = float(bench.protocol.metrics[label].get("min_headroom", 0.1))
    subject = replace(bench.faces_subject)
    metric_params = {
        f"nsrg@{limit:g}": {**bench.protocol.metrics[label], "min_headroom": limit}
        for limit in (0.01, min_headroom, 0.3)
    }
    scores = score_maps(subject, [bench.explainer("random")], metric_params, grid=bench.protocol.grid)
    measured: dict[str, float] = {}
    for key in metric_params:
        values = scores.values("random", key)
        measured[f"share without a score at {key.partition('@')[2]}"] = float(np.isnan(values).mean())
        measured[f"SD of random maps at {key.partition('@')[2]}"] = float(np.nanstd(values))
    undefined = measured[f"share without a score at {min_headroom:g}"]
    verdict = f"{undefined:.0%} of the images have no score at it" + (
        ", within R10" if undefined <= bench.protocol.decide.max_undefined else ", beyond R10"
    )
    return "metrics.nsrg.min_headroom", min_headroom, measured, f"{verdict}; {TRAINED}"
