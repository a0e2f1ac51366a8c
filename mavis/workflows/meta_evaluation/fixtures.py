"""Test fixtures: hand-wired models with exact truth, a trained model on faces, and their score tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from mavis.core.metric_types import Explainer
from mavis.core.registry import explainers, metric_name, metrics
from mavis.core.traits import MetricTraits
from mavis.engine.planning import plan
from mavis.protocol.schema import Params, Protocol
from mavis.workflows.meta_evaluation import reference_maps
from mavis.workflows.meta_evaluation.scoring import MapScores, MetricParams, Subject, load_subject, score_maps

TRAINED, BIASED, FACES = "race_resnet", "race_resnet_biased", "synthetic_faces"
HAND_WIRED: Mapping[str, Params] = {
    "part_sum": {"reads": ["eyes", "nose", "mouth"]},
    "both_parts": {"reads": ["eyes", "nose"]},
    "disconnected_halves": {"target": "side"},
    "single_logit": {"reads": ["eyes"]},
}
"""Hand-wired models with the parameters of their data."""

SIDE = 32
"""Side of the hand-wired models' images, in pixels."""

METHODS = ("saliency", "input_x_gradient", "integrated_gradients", "smoothgrad", "gradcam", "occlusion")
CONTROLS = ("random", "blurred_random", "sobel", "centre_gaussian", "input_dev", "constant")
INFORMATIVE_MAPS = ("oracle", "integrated_gradients", "occlusion")
"""Maps that carry information on the trained model: corrupting them must lower the score."""

BLUR_SIGMA = 0.0625
NOISE_40_DB = 0.01
N_PERTURBATIONS = 5
NOISE_SHARES = (0.3, 0.9)
"""Shares of noise in the maps of one group: the specification's, and one large enough to lower the score."""


def mixture_name(share: float) -> str:
    """Name of the oracle's map with this share of noise."""
    return f"oracle with {share:g} noise"


@dataclass(frozen=True)
class Sizes:
    """Numbers of images, maps and simulation runs.

    Attributes:
        per_group: faces of each population.
        per_group_disparity: faces of each population in the tests of gaps between groups.
        reexplained: faces for metrics that compute maps again.
        hand_wired: images of each hand-wired model.
        steps: steps of the mixture of truth and noise, from 0 to 1.
        methods: methods that are compared on faces.
        hand_wired_methods: methods that run on hand-wired models; None for all that can.
        random_maps: random maps per image, in the test of regions of every size.
        simulations: runs of every simulation.
        draws: bootstrap draws and permutations of a run.
    """

    per_group: int = 5
    per_group_disparity: int = 20
    reexplained: int = 7
    hand_wired: int = 16
    steps: int = 10
    methods: tuple[str, ...] = METHODS
    hand_wired_methods: tuple[str, ...] | None = None
    random_maps: int = 20
    simulations: int = 200
    draws: int = 200


QUICK = Sizes(
    per_group=1,
    reexplained=7,
    hand_wired=8,
    steps=4,
    methods=("input_x_gradient", "integrated_gradients"),
    hand_wired_methods=("saliency", "input_x_gradient", "occlusion"),
    simulations=40,
    draws=200,
)


@dataclass(frozen=True)
class Bench:
    """Score tables, each computed at its first use.

    Attributes:
        protocol: the protocol whose deciding metrics are tested.
        sizes: numbers of images, maps and runs.
        notify: called with the name of each table as it is computed.
    """

    protocol: Protocol
    sizes: Sizes
    notify: Callable[[str], None] = field(default=lambda _: None, repr=False)

    @property
    def seed(self) -> int:
        """Seed of every draw: the protocol's."""
        return self.protocol.seed

    @cached_property
    def metric_params(self) -> MetricParams:
        """The deciding metrics with the protocol's parameters."""
        return {label: self.protocol.metrics[label] for label in self.protocol.decide.metrics}

    @cached_property
    def mean_imputer_params(self) -> MetricParams:
        """The deciding metrics with the mean colour as the only imputer: the baseline of the hand-wired truth."""
        return {label: _with_mean_imputer(params) for label, params in self.metric_params.items()}

    def traits(self, label: str) -> MetricTraits:
        """Declared traits of a deciding metric."""
        declared: MetricTraits = metrics[metric_name(label)].traits
        return declared

    def labels(self, *categories: str) -> list[str]:
        """Deciding metrics of these categories; all metrics if no category is named."""
        return [m for m in self.metric_params if not categories or self.traits(m).category in categories]

    def sign(self, label: str) -> int:
        """1 where higher is better, −1 where lower is."""
        return -1 if self.traits(label).higher_is_better is False else 1

    def select(self, params: MetricParams, *categories: str) -> MetricParams:
        """The settings of the metrics of these categories."""
        return {label: params[label] for label in self.labels(*categories)}

    @cached_property
    def ladder(self) -> dict[float, str]:
        """Share of noise to the name of the map that has it."""
        steps = self.sizes.steps
        return {
            step / steps: "oracle" if step == 0 else f"oracle with {step / steps:g} noise" for step in range(steps + 1)
        }

    def explainer(self, name: str) -> plan.Component:
        """A registered explainer with the protocol's settings."""
        return reference_maps.from_registry(name, dict(self.protocol.explainers.settings.get(name, {})))

    # Hand-wired models.

    def hand_wired_subject(self, name: str) -> Subject:
        """A hand-wired model on its data."""
        options = {"size": SIDE, "count": 4 * self.sizes.hand_wired, **HAND_WIRED[name]}
        attribute = "side" if options.get("target") == "side" else "shade"
        per_group = self.sizes.hand_wired // 2
        return load_subject(name, "planted_parts", options, per_group=per_group, attribute=attribute, seed=self.seed)

    def hand_wired_methods(self, subject: Subject) -> list[plan.Component]:
        """All methods that can run on a hand-wired model, at light settings."""
        names = [
            entry.name
            for entry in explainers
            if entry.traits.role == "method" and entry.traits.needs <= subject.model.capabilities
        ]
        chosen = self.sizes.hand_wired_methods
        return [
            reference_maps.from_registry(name, LIGHT_EXPLAINER_PARAMS.get(name, {}))
            for name in names
            if chosen is None or name in chosen
        ]

    @cached_property
    def hand_wired(self) -> dict[str, MapScores]:
        """Per hand-wired model: the exact map, its opposites and corruptions, and every method and control."""
        tables = {}
        for name in HAND_WIRED:
            self.notify(f"hand-wired: {name}")
            subject = self.hand_wired_subject(name)
            components = [*self._hand_wired_maps(), *self.hand_wired_methods(subject)]
            metric_params = self.select(self.mean_imputer_params, "faithfulness", "localisation")
            tables[name] = score_maps(subject, components, metric_params, grid=self.protocol.grid)
        return tables

    def _hand_wired_maps(self) -> list[plan.Component]:
        """The exact map and the redrawn oracle, their opposites and corruptions, and the controls."""
        grid = self.protocol.grid
        exact = reference_maps.as_component("oracle", reference_maps.exact_contributions)
        redrawn = reference_maps.as_component("oracle redrawn", self.explainer("oracle").plugin)
        source, redrawn_source = reference_maps.cache_map(exact), reference_maps.cache_map(redrawn)
        return [
            exact,
            redrawn,
            *_opposites(source),
            reference_maps.transform_map("oracle redrawn adverse 0", redrawn_source, _shuffling(grid, 0)),
            *(self.explainer(name) for name in CONTROLS if name != "input_dev"),
            *_corruptions(source, grid),
            *_noisy_maps(source),
            *(
                reference_maps.transform_map(f"oracle adverse {k}", source, _shuffling(grid, k))
                for k in range(N_PERTURBATIONS)
            ),
        ]

    @cached_property
    def hand_wired_robustness(self) -> MapScores:
        """Robustness metrics on a mirror-invariant model: the exact map, which is stable, and mixtures with noise."""
        self.notify("hand-wired: mask_mean")
        options, per_group = {"size": SIDE, "count": 4 * self.sizes.hand_wired}, self.sizes.hand_wired // 2
        subject = load_subject(
            "mask_mean", "planted_square", options, per_group=per_group, attribute="shade", seed=self.seed
        )
        exact = reference_maps.as_component("oracle", reference_maps.exact_contributions)
        source = reference_maps.cache_map(exact)
        components = [
            exact,
            *self._mixtures(source),
            self.explainer("random"),
            *_corruptions(source, self.protocol.grid, with_parts=False),
            *_noisy_maps(source),
        ]
        metric_params = self.select(self.metric_params, "robustness")
        return score_maps(subject, components, metric_params, grid=self.protocol.grid, variants=True)

    # The trained model.

    @cached_property
    def faces_subject(self) -> Subject:
        """The trained model on faces."""
        return load_subject(TRAINED, FACES, {}, per_group=self.sizes.per_group, attribute="race", seed=self.seed)

    @cached_property
    def faces(self) -> MapScores:
        """The trained model: methods, controls, the part-wise oracle, and corrupted maps."""
        self.notify(f"faces: {TRAINED}")
        oracle = self.explainer("oracle")
        source = reference_maps.cache_map(oracle)
        methods = [self.explainer(name) for name in self.sizes.methods]
        components = [oracle, *_opposites(source)]
        components += [self.explainer(name) for name in CONTROLS]
        components += self._mixtures(source)
        components += _corruptions(source, self.protocol.grid)
        components += methods
        components += [
            reference_maps.transform_map(
                f"{method.name} noisy", reference_maps.cache_map(method), reference_maps.normal_noise(NOISE_40_DB)
            )
            for method in methods
        ]
        components += [
            component
            for name in INFORMATIVE_MAPS
            if name == "oracle" or name in self.sizes.methods
            for component in self._adversaries(name)
        ]
        metric_params = self.select(self.metric_params, "faithfulness", "localisation", "complexity")
        return score_maps(self.faces_subject, components, metric_params, grid=self.protocol.grid)

    @cached_property
    def disparity_subject(self) -> Subject:
        """The trained model on more faces."""
        return load_subject(
            TRAINED, FACES, {}, per_group=self.sizes.per_group_disparity, attribute="race", seed=self.seed
        )

    @cached_property
    def faces_disparity(self) -> MapScores:
        """The primary metric on more faces: the oracle, and the oracle with noise."""
        self.notify(f"more faces: {TRAINED}")
        oracle = self.explainer("oracle")
        source = reference_maps.cache_map(oracle)
        noisy = [
            reference_maps.transform_map(mixture_name(share), source, reference_maps.mixture(share, self.protocol.grid))
            for share in NOISE_SHARES
        ]
        primary = self.protocol.decide.primary
        return score_maps(
            self.disparity_subject, [oracle, *noisy], {primary: self.protocol.metrics[primary]}, grid=self.protocol.grid
        )

    @cached_property
    def faces_robustness(self) -> MapScores:
        """Robustness metrics of methods and of random maps on faces."""
        self.notify(f"faces: {TRAINED}, explained again")
        components = [self.explainer(name) for name in (*self.sizes.methods, "random")]
        return score_maps(
            self.reexplained_subject,
            components,
            self.select(self.metric_params, "robustness"),
            grid=self.protocol.grid,
            variants=True,
        )

    @property
    def reexplained_subject(self) -> Subject:
        """A subset of the faces, for metrics that explain again."""
        return self.faces_subject.subset(self.sizes.reexplained)

    def _mixtures(self, source: Explainer) -> list[plan.Component]:
        """The exact map with increasing shares of noise; share 0 is the map itself and not among them."""
        return [
            reference_maps.transform_map(name, source, reference_maps.mixture(share, self.protocol.grid))
            for share, name in self.ladder.items()
            if share > 0
        ]

    def _adversaries(self, name: str) -> list[plan.Component]:
        """A map's cells shuffled, another image's map, and another model's."""
        component = self.explainer(name)
        source = reference_maps.cache_map(component)
        return [
            reference_maps.transform_map(f"{name} shuffled", source, reference_maps.mixture(1.0, self.protocol.grid)),
            reference_maps.as_component(f"{name} of another image", reference_maps.other_image_map(component)),
            reference_maps.as_component(f"{name} of another model", reference_maps.randomised_model_map(component)),
        ]


LIGHT_EXPLAINER_PARAMS: Mapping[str, Params] = {
    "occlusion": {"window": 0.125, "stride": 0.0625},
    "rise": {"masks": 200, "cells": 8},
    "lime": {"samples": 100, "cells": 8},
    "kernel_shap": {"samples": 150, "cells": 8},
    "shapley_sampling": {"permutations": 2, "cells": 8},
    "feature_ablation": {"cells": 8},
}
"""Settings on hand-wired models for the methods that need most model calls."""


def _corruptions(source: Explainer, grid: int, *, with_parts: bool = True) -> list[plan.Component]:
    """The exact map shifted, dilated, scaled, raised by a constant, flattened, blurred, and without its top part."""
    transforms = {f"oracle shifted {k}": reference_maps.shift(k, grid) for k in (1, 3, 6)}
    transforms |= {f"oracle dilated {k}": reference_maps.dilation(k, grid) for k in (1, 2)}
    transforms |= {"oracle scaled": reference_maps.scaling(3.0), "oracle raised": reference_maps.offset(1.0)}
    transforms |= {f"oracle flattened {k}": reference_maps.flattening(k / 4) for k in (1, 2, 3, 4)}
    transforms |= {"oracle blurred": reference_maps.blur(BLUR_SIGMA)}
    transforms |= {"oracle without its top part": reference_maps.drop_top_part} if with_parts else {}
    return [reference_maps.transform_map(name, source, transform) for name, transform in transforms.items()]


def _noisy_maps(source: Explainer) -> list[plan.Component]:
    """The exact map with tiny noise, drawn `N_PERTURBATIONS` times."""
    return [
        reference_maps.transform_map(f"oracle noisy {k}", source, reference_maps.normal_noise(NOISE_40_DB, k))
        for k in range(N_PERTURBATIONS)
    ]


def _opposites(source: Explainer) -> list[plan.Component]:
    """The map with the wrong sign, and the map with the wrong places."""
    return [
        reference_maps.transform_map("anti_oracle", source, reference_maps.flip_sign),
        reference_maps.transform_map("elsewhere", source, reference_maps.invert_magnitude),
    ]


def _shuffling(grid: int, draw: int) -> reference_maps.MapTransform:
    """Transform that shuffles cells, in another order for every draw."""
    return lambda values, model_pass: reference_maps.shuffle_cells(values.roll(draw, dims=3), model_pass, grid)


def _with_mean_imputer(params: Params) -> Params:
    changed = dict(params)
    if "imputers" in params:
        changed["imputers"] = ["mean"]
    if "imputer" in params:
        changed["imputer"] = "mean"
    return changed
