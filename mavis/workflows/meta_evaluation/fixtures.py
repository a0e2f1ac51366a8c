"""What the tests are run on: hand-wired models, whose truth is exact, and a trained one on faces; tables made once."""

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
"""Of the hand-wired models' images, in pixels."""

METHODS = ("saliency", "input_x_gradient", "integrated_gradients", "smoothgrad", "gradcam", "occlusion")
CONTROLS = ("random", "blurred_random", "sobel", "centre_gaussian", "input_dev", "constant")
INFORMATIVE_MAPS = ("oracle", "integrated_gradients", "occlusion")
"""Maps that carry information on the trained model, whose corruption must show."""

BLUR_SIGMA = 0.0625
NOISE_40_DB = 0.01
NOISE_SHARES = (0.3, 0.9)
"""Shares of noise in the maps of one group: what the specification asks for, and what costs the score something."""


def mixture_name(share: float) -> str:
    """What the oracle is called that holds so much noise."""
    return f"oracle with {share:g} noise"


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        per_group: faces of each population.
        per_group_disparity: the same where gaps between groups are looked for.
        reexplained: faces on which maps are made again.
        hand_wired: images of each hand-wired model.
        steps: of the mixture of truth and noise, from 0 to 1.
        methods: that are compared on faces.
        hand_wired_methods: most methods per hand-wired model; None for all that can run.
        random_maps: per image, where parts of every size are the region.
        simulations: runs of every simulation.
        draws: bootstrap draws and permutations in them.
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
    """Tables of scores, each made when it is first asked for.

    Attributes:
        protocol: the protocol whose deciding metrics are tested.
        sizes: how much is measured.
        notify: told what is being made.
    """

    protocol: Protocol
    sizes: Sizes
    notify: Callable[[str], None] = field(default=lambda _: None, repr=False)

    @property
    def seed(self) -> int:
        """Of every draw: the protocol's."""
        return self.protocol.seed

    @cached_property
    def metric_params(self) -> MetricParams:
        """The deciding metrics with the protocol's parameters."""
        return {label: self.protocol.metrics[label] for label in self.protocol.decide.metrics}

    @cached_property
    def mean_imputer_params(self) -> MetricParams:
        """The same with the mean colour as the only imputer: what the hand-wired truth is relative to."""
        return {label: _with_mean_imputer(params) for label, params in self.metric_params.items()}

    def traits(self, label: str) -> MetricTraits:
        """What a deciding metric declares."""
        found: MetricTraits = metrics[metric_name(label)].traits
        return found

    def labels(self, *categories: str) -> list[str]:
        """Deciding metrics of these categories; all without any."""
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
        """Every method that a hand-wired model allows, at light settings."""
        found = [
            e.name for e in explainers if e.traits.role == "method" and e.traits.needs <= subject.model.capabilities
        ]
        chosen = self.sizes.hand_wired_methods
        return [
            reference_maps.from_registry(name, LIGHT_EXPLAINER_PARAMS.get(name, {}))
            for name in found
            if chosen is None or name in chosen
        ]

    @cached_property
    def hand_wired(self) -> dict[str, MapScores]:
        """Per hand-wired model: exact map, its opposite, every method and control, and what corrupts the exact map."""
        found = {}
        for name in HAND_WIRED:
            self.notify(f"hand-wired: {name}")
            on = self.hand_wired_subject(name)
            exact = reference_maps.as_component("oracle", reference_maps.exact_contributions)
            source = reference_maps.cache_map(exact)
            redrawn = reference_maps.as_component("oracle redrawn", self.explainer("oracle").plugin)
            parts = [exact, redrawn, *_opposites(source)]
            parts += [
                reference_maps.transform_map(
                    "oracle redrawn adverse 0", reference_maps.cache_map(redrawn), _shuffling(self.protocol.grid, 0)
                )
            ]
            parts += [self.explainer(name) for name in CONTROLS if name != "input_dev"]
            parts += _corruptions(source, self.protocol.grid)
            parts += [
                reference_maps.transform_map(f"oracle noisy {k}", source, reference_maps.normal_noise(NOISE_40_DB, k))
                for k in range(5)
            ]
            parts += [
                reference_maps.transform_map(f"oracle adverse {k}", source, _shuffling(self.protocol.grid, k))
                for k in range(5)
            ]
            parts += self.hand_wired_methods(on)
            found[name] = score_maps(
                on,
                parts,
                self.select(self.mean_imputer_params, "faithfulness", "localisation"),
                grid=self.protocol.grid,
            )
        return found

    @cached_property
    def hand_wired_robustness(self) -> MapScores:
        """On a model that a mirror does not change: a truth that stays, partly noise that does not. Robustness."""
        self.notify("hand-wired: mask_mean")
        options = {"size": SIDE, "count": 4 * self.sizes.hand_wired}
        on = load_subject(
            "mask_mean",
            "planted_square",
            options,
            per_group=self.sizes.hand_wired // 2,
            attribute="shade",
            seed=self.seed,
        )
        exact = reference_maps.as_component("oracle", reference_maps.exact_contributions)
        source = reference_maps.cache_map(exact)
        parts = [
            exact,
            *self._mixtures(source),
            self.explainer("random"),
            *_corruptions(source, self.protocol.grid, parts=False),
        ]
        parts += [
            reference_maps.transform_map(f"oracle noisy {k}", source, reference_maps.normal_noise(NOISE_40_DB, k))
            for k in range(5)
        ]
        return score_maps(
            on, parts, self.select(self.metric_params, "robustness"), grid=self.protocol.grid, variants=True
        )

    # The trained model.

    @cached_property
    def faces_subject(self) -> Subject:
        """The trained model on faces."""
        return load_subject(TRAINED, FACES, {}, per_group=self.sizes.per_group, attribute="race", seed=self.seed)

    @cached_property
    def faces(self) -> MapScores:
        """The trained model: methods, controls, the part-wise oracle and what corrupts maps."""
        self.notify(f"faces: {TRAINED}")
        oracle = self.explainer("oracle")
        source = reference_maps.cache_map(oracle)
        methods = [self.explainer(name) for name in self.sizes.methods]
        parts = [oracle, *_opposites(source)]
        parts += [self.explainer(name) for name in CONTROLS]
        parts += self._mixtures(source)
        parts += _corruptions(source, self.protocol.grid)
        parts += methods
        parts += [
            reference_maps.transform_map(
                f"{m.name} noisy", reference_maps.cache_map(m), reference_maps.normal_noise(NOISE_40_DB)
            )
            for m in methods
        ]
        parts += [
            p
            for name in INFORMATIVE_MAPS
            if name == "oracle" or name in self.sizes.methods
            for p in self._adversaries(name)
        ]
        asked = self.select(self.metric_params, "faithfulness", "localisation", "complexity")
        return score_maps(self.faces_subject, parts, asked, grid=self.protocol.grid)

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
            reference_maps.transform_map(mixture_name(s), source, reference_maps.mixture(s, self.protocol.grid))
            for s in NOISE_SHARES
        ]
        primary = self.protocol.decide.primary
        return score_maps(
            self.disparity_subject, [oracle, *noisy], {primary: self.protocol.metrics[primary]}, grid=self.protocol.grid
        )

    @cached_property
    def faces_robustness(self) -> MapScores:
        """Robustness metrics of methods and of random maps on faces."""
        self.notify(f"faces: {TRAINED}, explained again")
        parts = [self.explainer(name) for name in (*self.sizes.methods, "random")]
        return score_maps(
            self.reexplained_subject,
            parts,
            self.select(self.metric_params, "robustness"),
            grid=self.protocol.grid,
            variants=True,
        )

    @property
    def reexplained_subject(self) -> Subject:
        """Fewer of the faces."""
        return self.faces_subject.subset(self.sizes.reexplained)

    def _mixtures(self, source: Explainer) -> list[plan.Component]:
        """The truth with more and more noise; without noise it is there already."""
        return [
            reference_maps.transform_map(name, source, reference_maps.mixture(share, self.protocol.grid))
            for share, name in self.ladder.items()
            if share > 0
        ]

    def _adversaries(self, name: str) -> list[plan.Component]:
        """A map's cells shuffled, another image's map, and another model's."""
        part = self.explainer(name)
        source = reference_maps.cache_map(part)
        return [
            reference_maps.transform_map(f"{name} shuffled", source, reference_maps.mixture(1.0, self.protocol.grid)),
            reference_maps.as_component(f"{name} of another image", reference_maps.other_image_map(part)),
            reference_maps.as_component(f"{name} of another model", reference_maps.randomised_model_map(part)),
        ]


LIGHT_EXPLAINER_PARAMS: Mapping[str, Params] = {
    "occlusion": {"window": 0.125, "stride": 0.0625},
    "rise": {"masks": 200, "cells": 8},
    "lime": {"samples": 100, "cells": 8},
    "kernel_shap": {"samples": 150, "cells": 8},
    "shapley_sampling": {"permutations": 2, "cells": 8},
    "feature_ablation": {"cells": 8},
}
"""Settings of the methods that ask the model most, on hand-wired models."""


def _corruptions(source: Explainer, grid: int, *, parts: bool = True) -> list[plan.Component]:
    """The truth moved, widened, stripped, scaled, raised, flattened and blurred."""
    made = {f"oracle shifted {k}": reference_maps.shift(k, grid) for k in (1, 3, 6)}
    made |= {f"oracle dilated {k}": reference_maps.dilation(k, grid) for k in (1, 2)}
    made |= {"oracle scaled": reference_maps.scaling(3.0), "oracle raised": reference_maps.offset(1.0)}
    made |= {f"oracle flattened {k}": reference_maps.flattening(k / 4) for k in (1, 2, 3, 4)}
    made |= {"oracle blurred": reference_maps.blur(BLUR_SIGMA)}
    made |= {"oracle without its top part": reference_maps.drop_top_part} if parts else {}
    return [reference_maps.transform_map(name, source, change) for name, change in made.items()]


def _opposites(source: Explainer) -> list[plan.Component]:
    """What is wrong about the sign, and what is wrong about the place."""
    return [
        reference_maps.transform_map("anti_oracle", source, reference_maps.flip_sign),
        reference_maps.transform_map("elsewhere", source, reference_maps.invert_magnitude),
    ]


def _shuffling(grid: int, draw: int) -> reference_maps.MapTransform:
    """Shuffled cells; another order for every draw."""
    return lambda values, run: reference_maps.shuffle_cells(values.roll(draw, dims=3), run, grid)


def _with_mean_imputer(params: Params) -> Params:
    changed = dict(params)
    if "imputers" in params:
        changed["imputers"] = ["mean"]
    if "imputer" in params:
        changed["imputer"] = "mean"
    return changed
