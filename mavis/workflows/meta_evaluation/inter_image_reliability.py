"""M5 and M6: agreement of images on the order of methods, images needed for it, and redundancy between metrics."""

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
from scipy import stats

from mavis.analysis.statistics import inter_rater
from mavis.analysis.statistics.bootstrap import Floats
from mavis.analysis.statistics.ranking import rank_rows
from mavis.workflows.meta_evaluation.fixtures import CONTROLS, TRAINED, Bench
from mavis.workflows.meta_evaluation.results import Check, criterion_check, descriptive_check
from mavis.workflows.meta_evaluation.scoring import MapScores

MAX_CORRELATION = 0.95
N_SPLITS = 200


def reliability_checks(bench: Bench) -> Iterator[Check]:
    """Inter-rater reliability of every deciding metric, and redundancy between them."""
    for label in bench.labels():
        yield from _rater_checks(bench, label)
    yield _redundancy_check(bench)


def score_matrix(bench: Bench, label: str) -> tuple[MapScores, Floats]:
    """The face table of a metric, and its scores ``(images, methods)``; images without a value are left out."""
    scores = bench.faces_robustness if bench.traits(label).category == "robustness" else bench.faces
    values = np.stack([scores.values(name, label) for name in bench.sizes.methods], axis=1)
    return scores, values[~np.isnan(values).any(axis=1)]


def images_needed(values: Floats) -> int | None:
    """Number of images whose mean separates the methods with ICC .9; None where no number does."""
    return inter_rater.raters_needed(inter_rater.icc(values)) if len(values) > 1 else None


def _rater_checks(bench: Bench, label: str) -> Iterator[Check]:
    _, values = score_matrix(bench, label)
    if len(values) < 4:
        yield descriptive_check("M5", "inter-rater reliability", label, TRAINED, "images", value=len(values))
        return
    alpha = inter_rater.krippendorff_alpha(rank_rows(values, higher_is_better=True), "ordinal")
    halves = inter_rater.split_half_correlation(values, n_splits=N_SPLITS, seed=bench.seed)
    needed = images_needed(values)
    note = (
        f"ICC(2,1) {inter_rater.icc(values):.3f}, images for ICC .9: {needed or 'no number'}, "
        f"split-half Spearman {np.nanmean(halves):.2f}, n {len(values)}, {values.shape[1]} methods"
    )
    yield descriptive_check(
        "M5", "inter-rater reliability", label, TRAINED, "Krippendorff's alpha of ranks", value=alpha, note=note
    )


def correlations(bench: Bench) -> Mapping[tuple[str, str], float]:
    """Spearman between the means of every two metrics over methods and controls, higher always better."""
    names = [*bench.sizes.methods, *(control for control in CONTROLS if control != "constant")]
    labels = bench.labels("faithfulness", "localisation", "complexity")
    means = {label: [bench.sign(label) * bench.faces.mean(name, label) for name in names] for label in labels}
    return {(a, b): float(stats.spearmanr(means[a], means[b]).statistic) for a, b in combinations(labels, 2)}


def _redundancy_check(bench: Bench) -> Check:
    """Metrics that order methods and controls almost alike must share a weight; otherwise they count twice."""
    rhos = correlations(bench)
    redundant = {
        pair: rho
        for pair, rho in rhos.items()
        if abs(rho) > MAX_CORRELATION and bench.traits(pair[0]).category == bench.traits(pair[1]).category
    }
    double_counted = [
        pair for pair in redundant if not any(set(pair) <= set(names) for names in bench.protocol.decide.alike)
    ]
    listing = "; ".join(f"{a} and {b} {rho:.3f}" for (a, b), rho in redundant.items()) or "none"
    highest = max(rhos.values(), key=abs)
    return criterion_check(
        "M6", "redundancy", None, TRAINED, "pairs of one category with |rho| > .95 that count twice",
        value=len(double_counted), criterion="0",
        passed=not double_counted, note=f"alike: {listing}; highest of all pairs {highest:.3f}",
    )  # fmt: skip
