"""Protocol schema: every key with its type, range, default and meaning. `mavis.protocol.loading` reads the files.

The names of sections and fields are the keys of protocol files, and their values are hashed: a rename is another schema
version. Docstrings and descriptions appear in ``mavis protocol schema`` and in error messages, and are not hashed.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mavis.core import hashing

Params = dict[str, Any]


class Section(BaseModel):
    """Base of all sections: fixed keys, unknown ones are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GroupSizes(Section):
    """Images per group of the first attribute: the number to draw, and the numbers that statements need."""

    target: int = Field(gt=0, description="images drawn per group of the first attribute")
    min_report: int = Field(gt=1, description="in a smaller group no mean is shown")
    min_claim: int = Field(gt=1, description="no gap to a smaller group is claimed")


class LeakRules(Section):
    """Limits for train-test leakage: evaluated images that the model was trained on."""

    max_distance: int = Field(
        16,
        ge=0,
        le=256,
        description="largest number of differing hash bits, of 256, of two images that count as the same",
    )
    max_rate: float = Field(0.001, ge=0, le=1, description="largest share of images that may be in the training set")


class DataRules(Section):
    """Images of a run, and the attributes that group them."""

    groups: tuple[str, ...] = Field(min_length=1, description="attributes; 'race*gender' is an intersection")
    n_per_group: GroupSizes = Field(description="images per group: to draw, to report, to claim")
    max_unreadable: float = Field(
        0.05, ge=0, le=1, description="largest share of unreadable images with which a run begins"
    )
    identity: str | None = Field(
        None, description="column that names the person shown; images of one person are resampled together"
    )
    leak: LeakRules | None = Field(None, description="null: leakage is not measured")


class TargetRules(Section):
    """The class that is explained."""

    policy: Literal["predicted", "label"] = Field(
        default="predicted", description="the class that the model predicts, or the label"
    )


class VariantRules(Section):
    """Images on which maps are computed again under changed inputs, classes and weights."""

    per_group: int | None = Field(
        default=None, gt=0, description="images per group of the first attribute; null for all"
    )


class AgreementRules(Section):
    """Agreement of methods with each other; described, never ranked."""

    top: float = Field(0.1, gt=0, le=1, description="share of the cells that count as a map's top ones")


class ReliabilityRules(Section):
    """Out-of-distribution check of imputers: predictions must survive the removal of random cells."""

    imputers: tuple[str, ...] = Field(min_length=1, description="replacements of removed cells")
    fractions: tuple[float, ...] = Field((0.1, 0.3, 0.5), min_length=1, description="shares of cells removed at random")
    min_kept: float = Field(0.7, ge=0, le=1, description="smallest share of predictions kept at the first fraction")
    max_gap: float = Field(0.1, ge=0, le=1, description="largest difference between groups before it is flagged")


class RelianceRules(Section):
    """Measurement of the face parts that the model relies on, on data whose parts can be redrawn."""

    draws: int = Field(2, gt=0, description="times that each part is redrawn")
    min_share: float = Field(
        0.25, gt=0, le=1, description="smallest change of the logit of a part in use, as a share of the largest part's"
    )


class SensitivityRules(Section):
    """Other settings of metrics, under which the ranking of methods should stay the same."""

    grids: tuple[int, ...] = Field((8, 16, 32), min_length=1, description="cells per side")
    metrics: dict[str, dict[str, tuple[Any, ...]]] = Field(
        min_length=1, description="per metric and parameter the values to try, all combinations"
    )
    min_tau: float = Field(0.7, ge=-1, le=1, description="smallest mean Kendall tau of a metric that may decide")


class ReferenceRules(Section):
    """Ends of the scale of normalised scores (skills); fixed, so that no candidate moves the others."""

    zero: str = Field(default="random", description="the control whose normalised score is 0")
    truth: str = Field(
        default="oracle", description="the explainer whose normalised score is 1 on data with planted truth"
    )
    otherwise: str = Field(default="cell_occlusion", description="the same on data without planted truth")


class ExplainerRules(Section):
    """Parameters of explainers, and the controls of every run."""

    controls: tuple[str, ...] = Field(description="controls that always run; a method must beat those of gate G5")
    oracles: tuple[str, ...] = Field((), description="oracles that run where the data have planted truth")
    reference: ReferenceRules = Field(ReferenceRules(), description="explainers whose normalised scores are 0 and 1")
    settings: dict[str, Params] = Field(default_factory=dict, description="parameters per explainer")


class ValidGate(Section):
    """G0: enough maps are finite and not constant."""

    min: float = Field(ge=0, le=1, description="smallest share of maps that are finite and not constant")


class DeterminismGate(Section):
    """G1: the same seed gives the same map, and another seed nearly the same map."""

    metric: str = Field(
        "repeatability", description="the metric: largest relative difference of two maps under one seed"
    )
    max: float = Field(1e-5, ge=0, description="largest mean of it")
    replicate: str = Field("replicate_agreement", description="the metric that compares maps of two seeds")
    min: float = Field(0.8, description="smallest median of it, for methods that draw random numbers")


class CompletenessGate(Section):
    """G2: maps of methods that claim completeness add up to the change of the logit."""

    metric: str = Field("completeness", description="the metric: relative error of the sum")
    max: float = Field(0.05, ge=0, description="largest median of it")


class RandomisationGate(Section):
    """G3: maps change when the model's parameters are randomised."""

    metric: str = Field("mprt", description="the metric that compares maps before and after")
    max: float = Field(description="largest mean similarity")
    max_upper: float = Field(description="largest upper end of its interval")


class ClassGate(Section):
    """G4: maps of two classes differ."""

    metric: str = Field("random_logit", description="the metric that compares the maps of two classes")
    max: float = Field(0.8, description="largest mean similarity")
    min_classes: int = Field(3, ge=2, description="fewest classes for which the gate is assessed")


class ControlGate(Section):
    """G5: the method beats controls, maps that know nothing of the model."""

    metric: str = Field(description="the metric on which controls must be beaten")
    against: tuple[str, ...] = Field(min_length=1, description="the controls that must be beaten, all of them")
    margin: float = Field(ge=0, description="smallest lead over a control")


class GroupGate(Section):
    """G6: the method beats random maps in every reported group."""

    metric: str = Field("nsrg", description="the metric")
    against: str = Field("random", description="the control")
    margin: float = Field(0.0, ge=0, description="smallest lead over a control")


class Gates(Section):
    """Gates: tests that a method must pass before it is ranked."""

    valid: ValidGate = Field(description="G0: enough maps are finite and not constant")
    randomisation: RandomisationGate = Field(description="G3: maps change when the model's parameters are randomised")
    controls: ControlGate = Field(description="G5: the method beats controls, maps that know nothing of the model")
    determinism: DeterminismGate | None = Field(None, description="G1: maps are reproducible; null: not assessed")
    completeness: CompletenessGate | None = Field(
        None, description="G2: maps add up to the change of the logit where the method claims it; null: not assessed"
    )
    classes: ClassGate | None = Field(None, description="G4: maps of two classes differ; null: not assessed")
    groups: GroupGate | None = Field(
        None, description="G6: the method beats random maps in every reported group; null: not assessed"
    )


class DisparityRules(Section):
    """Conditions for a gap between groups to be significant, or for groups to be equivalent."""

    exact: tuple[str, ...] = Field(
        default=("predicted", "correct"), description="columns in which matched images are equal"
    )
    quantiles: dict[str, int] = Field(
        default={"probability": 5},
        description="columns in which matched images are in the same of so many bins of equal size",
    )
    adjust: tuple[str, ...] = Field(
        default=("probability", "correct", "brightness", "contrast", "sharpness", "imputation_contrast"),
        description="covariates of the adjusted gap; the square of probability and the predicted class are added",
    )
    claim: float = Field(
        default=0.02, ge=0, description="a gap is significant only if its interval lies beyond this, in skill units"
    )
    equivalence: float = Field(
        default=0.05,
        gt=0,
        description="groups are equivalent if the 90 % interval of every pair lies within this, in skill units",
    )


class AggregateRules(Section):
    """Settings of means and intervals."""

    bootstrap: int = Field(ge=100, description="draws of the bootstrap")
    permutations: int = Field(ge=100, description="shuffles of group labels for the null of a gap")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="confidence level of every interval")
    smaa: int = Field(
        5000, ge=100, description="random weightings of the categories under which a leader is determined"
    )
    min_blocks: int = Field(6, ge=2, description="models needed before methods are compared over models")


Condition = Literal["always", "drop_augmented", "reliance"]
"""Condition under which a metric counts: always; if the model was trained on images with removed cells; if the parts
that the model uses are known."""

WORST_GROUP = "worst_group"
"""A category without metrics of its own: the lowest normalised score of the primary metric over the groups."""


class DecisionRules(Section):
    """Rules by which methods are recommended, or none."""

    primary: str = Field(description="the faithfulness metric that gates, gaps and group statements use")
    metrics: dict[str, Condition] = Field(
        min_length=1, description="metrics of the overall score, each with the condition under which it counts"
    )
    weights: dict[str, float] = Field(
        min_length=1,
        description="share of the overall score per category; worst_group: the primary metric's lowest group score",
    )
    alike: tuple[tuple[str, ...], ...] = Field(
        (), description="metrics of one category that order methods alike and share the weight of one"
    )
    imputers: tuple[str, ...] = Field((), description="labels of the primary metric with each single imputer")
    rope: float = Field(ge=0, description="largest overall difference of practically equivalent methods (ROPE)")
    min_candidates: int = Field(ge=2, description="fewest eligible methods for a recommendation (R12)")
    max_undefined: float = Field(ge=0, le=1, description="largest share of failed or undefined scores in a group (R10)")
    max_undefined_gap: float = Field(
        0.05, ge=0, le=1, description="largest difference of these shares between two groups (R10)"
    )
    min_concordance: float = Field(0.4, ge=0, le=1, description="smallest Kendall W of the metrics that decide (R5)")


class Protocol(Section):
    """A protocol: the rules of a run."""

    protocol: str = Field(description="name of the protocol, shown in every report; never inherited")
    schema_: Literal[1] = Field(alias="schema", description="version of the schema; required in every file")
    status: Literal["preview", "draft", "frozen"] = Field(
        description="only a frozen protocol may be cited as a standard; never inherited"
    )
    about: str = Field(description="purpose in one line; never inherited")
    seed: int = Field(ge=0, description="random seed of everything: sample, noise, weights, bootstrap")
    data: DataRules = Field(description="images and their groups")
    target: TargetRules = Field(TargetRules(), description="class that is explained")
    grid: int = Field(
        16, gt=1, description="cells per side of the grid in which parts of images are removed and maps are pooled"
    )
    variants: VariantRules = Field(VariantRules(), description="images on which maps are computed again")
    explainers: ExplainerRules = Field(description="parameters of explainers, and the controls of every run")
    metrics: dict[str, Params] = Field(
        min_length=1,
        description="parameters per metric, {} for its defaults; null removes a metric of the extended protocol",
    )
    gates: Gates = Field(description="tests that a method must pass before it is ranked")
    agreement: AgreementRules | None = Field(None, description="agreement of methods; null: not measured")
    reliability: ReliabilityRules | None = Field(None, description="reliability of imputers; null: not measured")
    reliance: RelianceRules | None = Field(None, description="reliance of the model on face parts; null: not measured")
    disparity: DisparityRules = Field(
        DisparityRules(), description="conditions for gaps to be significant, and for groups to be equivalent"
    )
    sensitivity: SensitivityRules | None = Field(
        None, description="settings that `mavis sensitivity` varies; not used by a run"
    )
    aggregate: AggregateRules = Field(description="settings of means and intervals")
    decide: DecisionRules = Field(description="rules by which methods are recommended, or none")
    overrides: tuple[str, ...] = Field((), description="changes by the command line; written by MAVIS")

    def sha256(self) -> str:
        """SHA-256 of all rules; the order of keys in the file and the overrides do not count."""
        return hashing.digest_json(self.model_dump(mode="json", exclude={"overrides"}))
