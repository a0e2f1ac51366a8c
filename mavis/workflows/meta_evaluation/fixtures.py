"""What the tests are run on: hand-wired models, whose truth is exact, and a trained one on faces; tables made once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from mavis.core.metric_types import Explainer
from mavis.core.registry import explainers, metric_of, metrics
from mavis.core.traits import MetricTraits
from mavis.engine.planning import plan
from mavis.protocol.schema import Params, Protocol
from mavis.workflows.meta_evaluation import reference_maps
from mavis.workflows.meta_evaluation.scoring import Scores, Settings, Subject, scored, subject

TRAINED, BIASED, FACES = "race_resnet", "race_resnet_biased", "synthetic_faces"
WIRED: Mapping[str, Params] = {
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
INFORMED = ("oracle", "integrated_gradients", "occlusion")
"""Maps that carry information on the trained model, whose corruption must show."""

BLUR = 0.0625
DECIBEL_40 = 0.01
NOISE = (0.3, 0.9)
"""Shares of noise in the maps of one group: what the specification asks for, and what costs the score something."""


def noised(share: float) -> str:
    """What the oracle is called that holds so much noise."""
    return f"oracle with {share:g} noise"


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        per_group: faces of each population.
        many: the same where gaps between groups are looked for.
        again: faces on which maps are made again.
        wired: images of each hand-wired model.
        steps: of the mixture of truth and noise, from 0 to 1.
        methods: that are compared on faces.
        wired_methods: most methods per hand-wired model; None for all that can run.
        random_maps: per image, where parts of every size are the region.
        simulations: runs of every simulation.
        draws: bootstrap draws and permutations in them.
    """

    per_group: int = 5
    many: int = 20
    again: int = 7
    wired: int = 16
    steps: int = 10
    methods: tuple[str, ...] = METHODS
    wired_methods: tuple[str, ...] | None = None
    random_maps: int = 20
    simulations: int = 200
    draws: int = 200


QUICK = Sizes(
    per_group=1,
    again=7,
    wired=8,
    steps=4,
    methods=("input_x_gradient", "integrated_gradients"),
    wired_methods=("saliency", "input_x_gradient", "occlusion"),
    simulations=40,
    draws=200,
)


@dataclass(frozen=True)
class Bench:
    """Tables of scores, each made when it is first asked for.

    Attributes:
        rules: the protocol whose deciding metrics are tested.
        sizes: how much is measured.
        tell: told what is being made.
    """

    rules: Protocol
    sizes: Sizes
    tell: Callable[[str], None] = field(default=lambda _: None, repr=False)

    @property
    def seed(self) -> int:
        """Of every draw: the protocol's."""
        return self.rules.seed

    @cached_property
    def settings(self) -> Settings:
        """The deciding metrics with the protocol's parameters."""
        return {label: self.rules.metrics[label] for label in self.rules.decide.metrics}

    @cached_property
    def grey(self) -> Settings:
        """The same with the mean colour as the only imputer: what the hand-wired truth is relative to."""
        return {label: _grey(params) for label, params in self.settings.items()}

    def traits(self, label: str) -> MetricTraits:
        """What a deciding metric declares."""
        found: MetricTraits = metrics[metric_of(label)].traits
        return found

    def labels(self, *categories: str) -> list[str]:
        """Deciding metrics of these categories; all without any."""
        return [m for m in self.settings if not categories or self.traits(m).category in categories]

    def sign(self, label: str) -> int:
        """1 where higher is better, −1 where lower is."""
        return -1 if self.traits(label).higher_is_better is False else 1

    def asked(self, settings: Settings, *categories: str) -> Settings:
        """The settings of the metrics of these categories."""
        return {label: settings[label] for label in self.labels(*categories)}

    @cached_property
    def ladder(self) -> dict[float, str]:
        """Share of noise to the name of the map that has it."""
        steps = self.sizes.steps
        return {
            step / steps: "oracle" if step == 0 else f"oracle with {step / steps:g} noise" for step in range(steps + 1)
        }

    def part(self, name: str) -> plan.Part:
        """A registered explainer with the protocol's settings."""
        return reference_maps.registered(name, dict(self.rules.explainers.settings.get(name, {})))

    # Hand-wired models.

    def wired_subject(self, name: str) -> Subject:
        """A hand-wired model on its data."""
        options = {"size": SIDE, "count": 4 * self.sizes.wired, **WIRED[name]}
        attribute = "side" if options.get("target") == "side" else "shade"
        per_group = self.sizes.wired // 2
        return subject(name, "planted_parts", options, per_group=per_group, attribute=attribute, seed=self.seed)

    def wired_methods(self, on: Subject) -> list[plan.Part]:
        """Every method that a hand-wired model allows, at light settings."""
        found = [e.name for e in explainers if e.traits.role == "method" and e.traits.needs <= on.model.can]
        chosen = self.sizes.wired_methods
        return [
            reference_maps.registered(name, LIGHT.get(name, {})) for name in found if chosen is None or name in chosen
        ]

    @cached_property
    def wired(self) -> dict[str, Scores]:
        """Per hand-wired model: exact map, its opposite, every method and control, and what corrupts the exact map."""
        found = {}
        for name in WIRED:
            self.tell(f"hand-wired: {name}")
            on = self.wired_subject(name)
            exact = reference_maps.named("oracle", reference_maps.exact)
            source = reference_maps.shared(exact)
            redrawn = reference_maps.named("oracle redrawn", self.part("oracle").made)
            parts = [exact, redrawn, *_opposites(source)]
            parts += [
                reference_maps.changed(
                    "oracle redrawn adverse 0", reference_maps.shared(redrawn), _redrawn(self.rules.grid, 0)
                )
            ]
            parts += [self.part(name) for name in CONTROLS if name != "input_dev"]
            parts += _corruptions(source, self.rules.grid)
            parts += [
                reference_maps.changed(f"oracle noisy {k}", source, reference_maps.noisy(DECIBEL_40, k))
                for k in range(5)
            ]
            parts += [
                reference_maps.changed(f"oracle adverse {k}", source, _redrawn(self.rules.grid, k)) for k in range(5)
            ]
            parts += self.wired_methods(on)
            found[name] = scored(on, parts, self.asked(self.grey, "faithfulness", "localisation"), grid=self.rules.grid)
        return found

    @cached_property
    def steady(self) -> Scores:
        """On a model that a mirror does not change: a truth that stays, partly noise that does not. Robustness."""
        self.tell("hand-wired: mask_mean")
        options = {"size": SIDE, "count": 4 * self.sizes.wired}
        on = subject(
            "mask_mean", "planted_square", options, per_group=self.sizes.wired // 2, attribute="shade", seed=self.seed
        )
        exact = reference_maps.named("oracle", reference_maps.exact)
        source = reference_maps.shared(exact)
        parts = [exact, *self._ladder(source), self.part("random"), *_corruptions(source, self.rules.grid, parts=False)]
        parts += [
            reference_maps.changed(f"oracle noisy {k}", source, reference_maps.noisy(DECIBEL_40, k)) for k in range(5)
        ]
        return scored(on, parts, self.asked(self.settings, "robustness"), grid=self.rules.grid, variants=True)

    # The trained model.

    @cached_property
    def faces_subject(self) -> Subject:
        """The trained model on faces."""
        return subject(TRAINED, FACES, {}, per_group=self.sizes.per_group, attribute="race", seed=self.seed)

    @cached_property
    def faces(self) -> Scores:
        """The trained model: methods, controls, the part-wise oracle and what corrupts maps."""
        self.tell(f"faces: {TRAINED}")
        oracle = self.part("oracle")
        source = reference_maps.shared(oracle)
        methods = [self.part(name) for name in self.sizes.methods]
        parts = [oracle, *_opposites(source)]
        parts += [self.part(name) for name in CONTROLS]
        parts += self._ladder(source)
        parts += _corruptions(source, self.rules.grid)
        parts += methods
        parts += [
            reference_maps.changed(f"{m.name} noisy", reference_maps.shared(m), reference_maps.noisy(DECIBEL_40))
            for m in methods
        ]
        parts += [
            p for name in INFORMED if name == "oracle" or name in self.sizes.methods for p in self._adversaries(name)
        ]
        asked = self.asked(self.settings, "faithfulness", "localisation", "complexity")
        return scored(self.faces_subject, parts, asked, grid=self.rules.grid)

    @cached_property
    def many_subject(self) -> Subject:
        """The trained model on more faces."""
        return subject(TRAINED, FACES, {}, per_group=self.sizes.many, attribute="race", seed=self.seed)

    @cached_property
    def many(self) -> Scores:
        """The primary metric on more faces: the oracle, and the oracle with noise."""
        self.tell(f"more faces: {TRAINED}")
        oracle = self.part("oracle")
        source = reference_maps.shared(oracle)
        noisy = [reference_maps.changed(noised(s), source, reference_maps.mixed(s, self.rules.grid)) for s in NOISE]
        primary = self.rules.decide.primary
        return scored(self.many_subject, [oracle, *noisy], {primary: self.rules.metrics[primary]}, grid=self.rules.grid)

    @cached_property
    def again(self) -> Scores:
        """Robustness metrics of methods and of random maps on faces."""
        self.tell(f"faces: {TRAINED}, explained again")
        parts = [self.part(name) for name in (*self.sizes.methods, "random")]
        return scored(
            self.again_subject, parts, self.asked(self.settings, "robustness"), grid=self.rules.grid, variants=True
        )

    @property
    def again_subject(self) -> Subject:
        """Fewer of the faces."""
        return self.faces_subject.first(self.sizes.again)

    def _ladder(self, source: Explainer) -> list[plan.Part]:
        """The truth with more and more noise; without noise it is there already."""
        return [
            reference_maps.changed(name, source, reference_maps.mixed(share, self.rules.grid))
            for share, name in self.ladder.items()
            if share > 0
        ]

    def _adversaries(self, name: str) -> list[plan.Part]:
        """A map's cells shuffled, another image's map, and another model's."""
        part = self.part(name)
        source = reference_maps.shared(part)
        return [
            reference_maps.changed(f"{name} shuffled", source, reference_maps.mixed(1.0, self.rules.grid)),
            reference_maps.named(f"{name} of another image", reference_maps.of_another_image(part)),
            reference_maps.named(f"{name} of another model", reference_maps.of_another_model(part)),
        ]


LIGHT: Mapping[str, Params] = {
    "occlusion": {"window": 0.125, "stride": 0.0625},
    "rise": {"masks": 200, "cells": 8},
    "lime": {"samples": 100, "cells": 8},
    "kernel_shap": {"samples": 150, "cells": 8},
    "shapley_sampling": {"permutations": 2, "cells": 8},
    "feature_ablation": {"cells": 8},
}
"""Settings of the methods that ask the model most, on hand-wired models."""


def _corruptions(source: Explainer, grid: int, *, parts: bool = True) -> list[plan.Part]:
    """The truth moved, widened, stripped, scaled, raised, flattened and blurred."""
    made = {f"oracle shifted {k}": reference_maps.shifted(k, grid) for k in (1, 3, 6)}
    made |= {f"oracle dilated {k}": reference_maps.dilated(k, grid) for k in (1, 2)}
    made |= {"oracle scaled": reference_maps.scaled(3.0), "oracle raised": reference_maps.raised(1.0)}
    made |= {f"oracle flattened {k}": reference_maps.flattened(k / 4) for k in (1, 2, 3, 4)}
    made |= {"oracle blurred": reference_maps.blurred(BLUR)}
    made |= {"oracle without its top part": reference_maps.without_top_part} if parts else {}
    return [reference_maps.changed(name, source, change) for name, change in made.items()]


def _opposites(source: Explainer) -> list[plan.Part]:
    """What is wrong about the sign, and what is wrong about the place."""
    return [
        reference_maps.changed("anti_oracle", source, reference_maps.turned),
        reference_maps.changed("elsewhere", source, reference_maps.elsewhere),
    ]


def _redrawn(grid: int, draw: int) -> reference_maps.Change:
    """Shuffled cells; another order for every draw."""
    return lambda values, run: reference_maps.shuffled(values.roll(draw, dims=3), run, grid)


def _grey(params: Params) -> Params:
    changed = dict(params)
    if "imputers" in params:
        changed["imputers"] = ["mean"]
    if "imputer" in params:
        changed["imputer"] = "mean"
    return changed
