"""Rows about metrics. Maps that a metric only reads are made before; maps that it needs anew are made by both sides."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import peers
import plugins
import torch
from harness import Work, missing
from rows import OURS, Row
from subject import Subject, make_explainers, make_metrics, values
from torch import Tensor

STEPS, SUBSETS, DRAWS, RADIUS, LAYERS = 48, 100, 10, 0.2, 12
SIX = ("saliency", "input_x_gradient", "cam", "gradcam", "hirescam", "gradcam_plus_plus")
MAP_METRICS: "Settings" = {
    "pointing_game": {},
    "relevance_mass": {},
    "relevance_rank": {},
    "top_k_intersection": {"k": 1000},
    "pixel_auroc": {},
    "attribution_localisation": {},
    "gini": {},
    "entropy": {},
}
QUANTUS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "pointing_game": ("PointingGame", {}),
    "relevance_mass": ("RelevanceMassAccuracy", {}),
    "relevance_rank": ("RelevanceRankAccuracy", {}),
    "top_k_intersection": ("TopKIntersection", {"k": 1000}),
    "pixel_auroc": ("AUC", {}),
    "attribution_localisation": ("AttributionLocalisation", {}),
    "gini": ("Sparseness", {}),
    "entropy": ("Complexity", {}),
}
Settings = Mapping[str, Mapping[str, Any]]
Quantus = Callable[[Any], Sequence[object]]
"""From the module ``quantus`` to metrics, made anew for every map."""


def one_order(images: int) -> Row:
    """Most influential first, 48 steps."""
    subject = Subject(images)
    maps = {"saliency": _map(subject, "saliency")}
    return Row(
        subject,
        {
            OURS: _ours(subject, maps, {"deletion": {"points": STEPS + 1}}),
            **_quantus(subject, maps, lambda q: [q.PixelFlipping(features_in_step=_features(subject), **peers.QUIET)]),
            **_pnpxai(subject, maps["saliency"], "MoRF"),
        },
        floor=(images * (STEPS + 1), 0),
        goal="≤ 1.10 F at N ≥ 8; never slower than Quantus",
        absent=_absent("quantus", "pnpxai"),
    )


def both_orders(images: int) -> Row:
    """Most and least influential first (SRG), 48 steps each."""
    subject = Subject(images)
    maps = {"saliency": _map(subject, "saliency")}
    both_ways = {"saliency": maps["saliency"], "reversed": -maps["saliency"]}
    return Row(
        subject,
        {
            OURS: _ours(subject, maps, {"srg": {"imputers": ["mean"], "points": STEPS + 1}}),
            **_quantus(
                subject, both_ways, lambda q: [q.PixelFlipping(features_in_step=_features(subject), **peers.QUIET)]
            ),
            **_pnpxai(subject, maps["saliency"], "AbPC"),
        },
        floor=(images * 2 * STEPS, 0),
        goal="≤ 1.10 F at N ≥ 8; never slower than Quantus",
        absent=_absent("quantus", "pnpxai"),
    )


def two_patch_sweeps(images: int) -> Row:
    """Selectivity and region perturbation over all 64 patches."""
    subject = Subject(images)
    maps = {"saliency": _map(subject, "saliency")}
    metric_params = {
        "pixel_flipping": {"points": 65},
        "region_perturbation": {"imputer": "mean", "regions": 1.0, "points": 65},
    }
    return Row(
        subject,
        {
            OURS: _ours(subject, maps, metric_params, grid=8),
            **_quantus(
                subject,
                maps,
                lambda q: [
                    q.Selectivity(patch_size=8, **peers.QUIET),
                    q.RegionPerturbation(patch_size=8, regions_evaluation=64, **peers.QUIET),
                ],
            ),
        },
        floor=(images * 65, 0),
        goal="≥ 2.2x",
        absent=_absent("quantus"),
    )


def subset_metrics(images: int) -> Row:
    """Faithfulness correlation, sensitivity-n and infidelity of six maps; about 100 subsets each."""
    subject = Subject(images)
    maps = {name: _map(subject, name) for name in SIX}
    metric_params = {
        "faithfulness_correlation": {"subsets": SUBSETS},
        "sensitivity_n": {"sizes": [0.3], "subsets": SUBSETS},
        "infidelity": {"subsets": SUBSETS},
    }

    def theirs(q: Any) -> list[object]:
        return [
            q.FaithfulnessCorrelation(nr_runs=SUBSETS, **peers.QUIET),
            q.SensitivityN(features_in_step=_features(subject), **peers.QUIET),
            q.Infidelity(perturb_patch_sizes=[16], n_perturb_samples=6, **peers.QUIET),
        ]

    return Row(
        subject,
        {OURS: _ours(subject, maps, metric_params), **_quantus(subject, maps, theirs)},
        floor=(images * (SUBSETS + 1), 0),
        goal="≥ 5x; samples independent of the number of explainers",
        absent=_absent("quantus"),
        notes="Quantus asks 100, 48 and 96 times per map, MAVIS 100 times for all maps and metrics.",
    )


def robustness(images: int, names: Sequence[str], goal: str) -> Row:
    """Max sensitivity, average sensitivity and the Lipschitz estimate, 10 noisy copies."""
    subject = Subject(images)
    noisy = {"radius": RADIUS, "draws": DRAWS}
    metric_params = {"max_sensitivity": noisy, "avg_sensitivity": noisy, "local_lipschitz": noisy}

    def theirs(q: Any) -> list[object]:
        kinds = (q.MaxSensitivity, q.AvgSensitivity, q.LocalLipschitzEstimate)
        return [kind(nr_samples=DRAWS, **peers.QUIET) for kind in kinds]

    sides = {OURS: _ours_explained(subject, names, metric_params), **_quantus_explained(subject, names, theirs)}
    if len(names) == 1:
        sides["Captum, max sensitivity only"] = lambda: _captum_sensitivity(subject, names[0])
    passes = images * (1 + DRAWS) * _kinds_of_pass(names)
    return Row(subject, sides, floor=(passes, passes), goal=goal, absent=_absent("quantus", "captum"))


def randomisation(images: int, names: Sequence[str], goal: str) -> Row:
    """Cascading randomisation, 24 maps per explainer."""
    subject = Subject(images)
    repeats = 2
    passes = images * (1 + repeats * LAYERS) * _kinds_of_pass(names)
    return Row(
        subject,
        {
            OURS: _ours_explained(subject, names, {"mprt_top_down": {"repeats": repeats}}),
            **_quantus_explained(subject, names, lambda q: [q.MPRT(**peers.QUIET)]),
        },
        floor=(passes, passes),
        goal=goal,
        absent=_absent("quantus"),
        notes="Quantus: 23 modules and the original model; MAVIS: 12 layers with their normalisation, twice.",
    )


def road(images: int) -> Row:
    """ROAD at 224 px, 10 to 90 % of 16 × 16 cells removed, most influential first."""
    subject = Subject(images, size=224)
    stream = torch.Generator().manual_seed(2)
    blocks = torch.rand((images, 1, 16, 16), generator=stream)
    maps = {"blocks": torch.nn.functional.interpolate(blocks, size=224)}
    return Row(
        subject,
        {
            OURS: _ours(subject, maps, {"road_accuracy": {}}),
            **_gradcam_road(subject, maps["blocks"]),
            **_grey_road(subject, maps["blocks"]),
        },
        floor=(images * 10, 0),
        goal="≥ 2.5x at 224 px, on RGB",
        absent=_absent("quantus", "grad-cam"),
        notes="Quantus fails on RGB with maps of one channel, so it is given grey images and a network for them.",
    )


def map_metrics(images: int) -> Row:
    """Six localisation and two complexity metrics, by pixel; the floor is one sort of the maps."""
    subject = Subject(images)
    maps = _map(subject, "saliency").abs() + 1e-6
    return Row(
        subject,
        {
            OURS: _ours(subject, {"map": maps}, MAP_METRICS, grid=64),
            **_quantus(subject, {"map": maps}, lambda q: [_quantus_metric(q, name) for name in MAP_METRICS]),
        },
        floor=lambda: maps.flatten(1).sort(dim=1),
        goal="≥ 15x; values within 1e-5",
        absent=_absent("quantus"),
        agrees={} if missing("quantus") else {"Quantus": lambda: _map_difference(subject, maps)},
    )


# The sides.


def _ours(subject: Subject, maps: Mapping[str, Tensor], metric_params: Settings, grid: int = 16) -> Work:
    methods = [subject.fixed_explainer(name, values) for name, values in maps.items()]
    components = make_metrics(metric_params)
    return lambda: subject.score(methods, components, grid)


def _ours_explained(subject: Subject, names: Sequence[str], metric_params: Settings) -> Work:
    plugins.ensure()
    methods = make_explainers({name: {"zero": "black"} if name == "input_x_gradient" else {} for name in names})
    metrics = make_metrics(metric_params)
    return lambda: subject.score(methods, metrics)


def _quantus(subject: Subject, maps: Mapping[str, Tensor], make: Quantus) -> dict[str, Work]:
    if missing("quantus"):
        return {}
    import quantus

    return {
        "Quantus": lambda: [
            peers.score(metric, subject, values.numpy()) for values in maps.values() for metric in make(quantus)
        ]
    }


def _quantus_explained(subject: Subject, names: Sequence[str], make: Quantus) -> dict[str, Work]:
    if missing("quantus"):
        return {}
    import quantus

    def work() -> None:
        images, targets, _ = subject.arrays()
        for name in names:
            explain = peers.explain_func(name)
            maps = explain(subject.peer, images, targets)
            for metric in make(quantus):
                peers.score(metric, subject, maps, explain)

    return {"Quantus": work}


def _pnpxai(subject: Subject, maps: Tensor, kind: str) -> dict[str, Work]:
    if missing("pnpxai"):
        return {}
    from pnpxai.evaluator import metrics

    metric = getattr(metrics, kind)(subject.peer, n_steps=STEPS + 1)
    return {"pnpxai": lambda: metric.evaluate(subject.images, subject.targets, maps[:, 0])}


def _captum_sensitivity(subject: Subject, name: str) -> object:
    from captum.metrics import sensitivity_max

    def explain(images: Tensor, target: Tensor) -> Tensor:
        return peers.ATTRIBUTE[name](subject.peer, images, target)

    noisy = {"perturb_radius": RADIUS, "n_perturb_samples": DRAWS}
    return sensitivity_max(explain, subject.images, **noisy, target=subject.targets)


def _gradcam_road(subject: Subject, maps: Tensor) -> dict[str, Work]:
    if missing("grad-cam"):
        return {}
    from pytorch_grad_cam.metrics.road import ROADMostRelevantFirstAverage
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    targets = [ClassifierOutputSoftmaxTarget(target) for target in subject.targets.tolist()]
    metric = ROADMostRelevantFirstAverage()
    return {"grad-cam": lambda: metric(subject.images, maps[:, 0].numpy(), targets, subject.peer)}


def _grey_road(subject: Subject, maps: Tensor) -> dict[str, Work]:
    if missing("quantus"):
        return {}
    import quantus

    grey = subject.grey()
    images, targets = subject.images.mean(1, keepdim=True).numpy(), subject.targets.numpy()

    def work() -> object:
        metric = quantus.ROAD(percentages=list(range(10, 100, 10)), **peers.QUIET)
        options = {"device": "cpu", "channel_first": True, "batch_size": len(images)}
        return metric(model=grey, x_batch=images, y_batch=targets, a_batch=maps.numpy(), **options)

    return {"Quantus, grey": work}


# Small things.


def _map(subject: Subject, name: str) -> Tensor:
    images, targets, _ = subject.arrays()
    return torch.from_numpy(peers.explain_func(name)(subject.peer, images, targets))


def _features(subject: Subject) -> int:
    """Channel values in one of 48 steps over an RGB image."""
    return 3 * subject.size**2 // STEPS


def _kinds_of_pass(names: Sequence[str]) -> int:
    """Plain gradients and CAMs come from one pass, guided gradients from another."""
    return len({name.startswith("guided") for name in names})


def _absent(*packages: str) -> dict[str, str]:
    return {package: missing(package) for package in packages if missing(package)}


def _quantus_metric(quantus: Any, name: str) -> Callable[..., object]:
    """Quantus's metric for one of MAVIS's."""
    kind, params = QUANTUS[name]
    return getattr(quantus, kind)(**params, return_aggregate=False, **peers.QUIET)  # type: ignore[no-any-return]


def _map_difference(subject: Subject, maps: Tensor) -> float:
    """Largest difference of values; Quantus's complexity is an entropy in nats, MAVIS's a share of the largest one.

    Attribution localisation is left out: Quantus multiplies by the region's share where the paper divides.
    """
    import quantus

    ours = subject.score([subject.fixed_explainer("map", maps)], make_metrics(MAP_METRICS), grid=64)
    scale = {"entropy": np.log(subject.size**2)}

    def difference(name: str) -> float:
        theirs = np.asarray(peers.score(_quantus_metric(quantus, name), subject, maps.numpy()), dtype=float)
        return float(np.abs(values(ours, "map", name) * scale.get(name, 1) - theirs).max())

    return max(difference(name) for name in MAP_METRICS if name != "attribution_localisation")


METRIC_ROWS: Mapping[str, Callable[[int], Row]] = {
    "sweep, one order": one_order,
    "sweep, both orders (SRG)": both_orders,
    "two patch sweeps": two_patch_sweeps,
    "three subset metrics, 6 explainers": subset_metrics,
    "max + average sensitivity + Lipschitz, one": lambda n: robustness(n, SIX[:1], "≥ 4x for the three; ≤ 1.15 F"),
    "max + average sensitivity + Lipschitz, six": lambda n: robustness(n, SIX, "≥ 15x"),
    "MPRT, one": lambda n: randomisation(n, SIX[:1], "≥ 1.5x"),
    "MPRT, one, four times the images": lambda n: randomisation(4 * n, SIX[:1], "≥ 1.5x"),
    "MPRT, six": lambda n: randomisation(n, SIX, "≥ 6x"),
    "ROAD, 224 px": lambda n: road(max(1, n // 16)),
    "localisation and complexity": map_metrics,
}
