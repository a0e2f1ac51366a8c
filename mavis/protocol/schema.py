"""What a protocol says: the rules of a run as checked values; `mavis.protocol.loading` reads them from files."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mavis.core import hashing

Params = dict[str, Any]


class Section(BaseModel):
    """Keys of one part of a protocol; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GroupSizes(Section):
    """How many images per group of the first attribute are drawn, and how many a statement needs."""

    target: int = Field(gt=0, description="images drawn per group of the first attribute")
    min_report: int = Field(gt=1, description="below this a group's mean is not shown")
    min_claim: int = Field(gt=1, description="below this no difference between groups is claimed")


class LeakRules(Section):
    """Whether evaluation images were trained on."""

    max_distance: int = Field(16, ge=0, le=256, description="differing bits of 256 up to which two images count as one")
    max_rate: float = Field(0.001, ge=0, le=1, description="largest share of images that may be in the training set")


class DataRules(Section):
    """Which images, and along which annotations they are grouped."""

    groups: tuple[str, ...] = Field(min_length=1, description="attributes; 'race*gender' is an intersection")
    n_per_group: GroupSizes = Field(description="how many images a group has, and needs")
    max_unreadable: float = Field(0.05, ge=0, le=1, description="largest share of unreadable images that is borne")
    identity: str | None = Field(None, description="column that names who is shown; images of one are drawn together")
    leak: LeakRules | None = Field(None, description="null: not looked at")


class TargetRules(Section):
    """Which class is explained."""

    policy: Literal["predicted", "label"] = Field(
        default="predicted", description="the class that the model predicts, or the label"
    )


class VariantRules(Section):
    """On how many images maps are made again under other inputs and other weights."""

    per_group: int | None = Field(
        default=None, gt=0, description="images per group of the first attribute; null for all"
    )


class AgreementRules(Section):
    """How far methods agree with each other; described, never ranked."""

    top: float = Field(0.1, gt=0, le=1, description="share of the cells that count as a map's top ones")


class ReliabilityRules(Section):
    """With which imputers the model still knows what it sees."""

    imputers: tuple[str, ...] = Field(min_length=1, description="what removed cells show")
    fractions: tuple[float, ...] = Field((0.1, 0.3, 0.5), min_length=1, description="shares of cells removed at random")
    min_kept: float = Field(0.7, ge=0, le=1, description="smallest share of predictions kept at the first fraction")
    max_gap: float = Field(0.1, ge=0, le=1, description="largest difference between groups before it is flagged")


class RelianceRules(Section):
    """Which face parts the model was shown to use, on data whose parts can be drawn anew."""

    draws: int = Field(2, gt=0, description="other values of each part")
    min_share: float = Field(0.25, gt=0, le=1, description="smallest change of the logit, as a share of the largest")


class SensitivityRules(Section):
    """Under which other settings of a metric the ranking of methods should be the same."""

    grids: tuple[int, ...] = Field((8, 16, 32), min_length=1, description="cells per side")
    metrics: dict[str, dict[str, tuple[Any, ...]]] = Field(
        min_length=1, description="per metric and parameter the values to try, all combinations"
    )
    min_tau: float = Field(0.7, ge=-1, le=1, description="smallest mean Kendall tau of a metric that may decide")


class ReferenceRules(Section):
    """What stands for 0 and for 1 of a skill; fixed, so that no candidate moves the others."""

    zero: str = Field(default="random", description="the control whose score is skill 0")
    truth: str = Field(
        default="oracle", description="the explainer whose score is skill 1 where the data have planted truth"
    )
    otherwise: str = Field(default="cell_occlusion", description="and where they have none")


class ExplainerRules(Section):
    """Settings of explainers, and which controls stand in every table."""

    controls: tuple[str, ...] = Field(description="run whatever is asked for; a method must beat those of the gate G5")
    oracles: tuple[str, ...] = Field((), description="run where the data have planted truth")
    reference: ReferenceRules = Field(ReferenceRules(), description="what stands for 0 and for 1 of a skill")
    settings: dict[str, Params] = Field(default_factory=dict, description="parameters per explainer")


class ValidGate(Section):
    """G0: enough maps are finite and not constant."""

    min: float = Field(ge=0, le=1, description="smallest share of maps that are finite and not constant")


class DeterminismGate(Section):
    """G1: the same seed gives the same map, another seed nearly the same."""

    metric: str = Field("repeatability", description="largest relative difference of two maps under one seed")
    max: float = Field(1e-5, ge=0, description="largest mean of it")
    replicate: str = Field("replicate_agreement", description="the metric that compares maps of two seeds")
    min: float = Field(0.8, description="smallest median of it, for methods that draw random numbers")


class CompletenessGate(Section):
    """G2: what claims to add up to the change of the logit does."""

    metric: str = Field("completeness", description="the relative error")
    max: float = Field(0.05, ge=0, description="largest median of it")


class RandomisationGate(Section):
    """G3: maps change when the model's parameters are drawn anew."""

    metric: str = Field("mprt", description="the metric that compares maps before and after")
    max: float = Field(description="largest mean similarity")
    max_upper: float = Field(description="largest upper end of its interval")


class ClassGate(Section):
    """G4: another class gets another map."""

    metric: str = Field("random_logit", description="the metric that compares the maps of two classes")
    max: float = Field(0.8, description="largest mean similarity")
    min_classes: int = Field(3, ge=2, description="with fewer classes it is not asked")


class ControlGate(Section):
    """G5: better than maps that know nothing of the model."""

    metric: str = Field(description="the metric on which controls are to be beaten")
    against: tuple[str, ...] = Field(min_length=1, description="the controls that are to be beaten, all of them")
    margin: float = Field(ge=0, description="by how much, at least")


class GroupGate(Section):
    """G6: better than random in every group that is reported."""

    metric: str = Field("nsrg", description="the metric")
    against: str = Field("random", description="the control")
    margin: float = Field(0.0, ge=0, description="by how much, at least")


class Gates(Section):
    """What a method must pass before it is ranked."""

    valid: ValidGate = Field(description="G0: enough maps are finite and not constant")
    randomisation: RandomisationGate = Field(description="G3: maps change when the model's parameters are drawn anew")
    controls: ControlGate = Field(description="G5: better than maps that know nothing of the model")
    determinism: DeterminismGate | None = Field(None, description="G1; null: not asked")
    completeness: CompletenessGate | None = Field(None, description="G2; null: not asked")
    classes: ClassGate | None = Field(None, description="G4; null: not asked")
    groups: GroupGate | None = Field(None, description="G6; null: not asked")


class DisparityRules(Section):
    """When a gap between groups counts as found, and when as absent."""

    exact: tuple[str, ...] = Field(default=("predicted", "correct"), description="what matched images share")
    quantiles: dict[str, int] = Field(
        default={"probability": 5}, description="what they share up to so many equal bins"
    )
    adjust: tuple[str, ...] = Field(
        default=("probability", "correct", "brightness", "contrast", "sharpness", "imputation_contrast"),
        description="what is held equal in the adjusted gap; probability also squared, and the predicted class",
    )
    claim: float = Field(
        default=0.02, ge=0, description="a gap is found only if its interval lies beyond this, in skill units"
    )
    equivalence: float = Field(default=0.05, gt=0, description="no gap is shown if the 90 % interval lies within this")


class AggregateRules(Section):
    """How scores become means and intervals."""

    bootstrap: int = Field(ge=100, description="draws")
    permutations: int = Field(ge=100, description="draws for the null of a gap")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of every interval")
    smaa: int = Field(5000, ge=100, description="random weightings of the categories that a ranking is tried under")
    min_blocks: int = Field(6, ge=2, description="models needed before methods are compared over models")


Condition = Literal["always", "drop_augmented", "reliance"]
"""When a metric counts: always; if the model was trained on images with removed cells; if the parts that the model uses
are known."""

WORST_GROUP = "worst_group"
"""The category that is no metric's own: the primary skill of the group that has the least."""


class DecisionRules(Section):
    """How a set of methods is recommended, or none."""

    primary: str = Field(description="the faithfulness metric that gates, gaps and groups look at")
    metrics: dict[str, Condition] = Field(
        min_length=1, description="metrics that make up the score, and when each does"
    )
    weights: dict[str, float] = Field(
        min_length=1, description="per category its share of the score; worst_group: the primary skill of that group"
    )
    alike: tuple[tuple[str, ...], ...] = Field(
        (), description="metrics of one category that order methods alike and so share the weight of one"
    )
    imputers: tuple[str, ...] = Field((), description="the primary metric once for every imputer, as metric labels")
    rope: float = Field(ge=0, description="differences up to this size do not matter")
    min_candidates: int = Field(ge=2, description="fewer eligible methods are a comparison, not a recommendation (R12)")
    max_undefined: float = Field(ge=0, le=1, description="largest share of failed or undefined scores in a group (R10)")
    max_undefined_gap: float = Field(
        0.05, ge=0, le=1, description="largest difference of these shares between two groups (R10)"
    )
    min_concordance: float = Field(0.4, ge=0, le=1, description="smallest Kendall W of the metrics that decide (R5)")


class Protocol(Section):
    """The rules of a run."""

    protocol: str = Field(description="its name, in every report; a file that extends another has its own")
    schema_: Literal[1] = Field(alias="schema", description="version of these keys; every file says it")
    status: Literal["preview", "draft", "frozen"] = Field(
        description="only a frozen protocol may be cited as a standard; a file that extends another has its own"
    )
    about: str = Field(description="one line of what it is for; a file that extends another has its own")
    seed: int = Field(ge=0, description="of every draw: sample, noise, weights, bootstrap")
    data: DataRules = Field(description="which images, and how they are grouped")
    target: TargetRules = Field(TargetRules(), description="which class is explained")
    grid: int = Field(16, gt=1, description="cells per side in which images are removed and maps are read")
    variants: VariantRules = Field(VariantRules(), description="on how many images maps are made again")
    explainers: ExplainerRules = Field(description="settings of explainers, and which controls always run")
    metrics: dict[str, Params] = Field(
        min_length=1,
        description="per metric its parameters, {} for its defaults; null removes one of the extended protocol",
    )
    gates: Gates = Field(description="what a method must pass before it is ranked")
    agreement: AgreementRules | None = Field(None, description="null: not looked at")
    reliability: ReliabilityRules | None = Field(None, description="null: not looked at")
    reliance: RelianceRules | None = Field(None, description="null: not looked at")
    disparity: DisparityRules = Field(DisparityRules(), description="when a gap counts as found, and when as absent")
    sensitivity: SensitivityRules | None = Field(None, description="for `mavis sensitivity`; no part of a run")
    aggregate: AggregateRules = Field(description="how scores become means and intervals")
    decide: DecisionRules = Field(description="how a set of methods is recommended, or none")
    overrides: tuple[str, ...] = Field((), description="set by MAVIS: what the command line changed")

    def sha256(self) -> str:
        """Hash of every rule, whatever the order of keys in the file."""
        return hashing.digest_json(self.model_dump(mode="json", exclude={"overrides"}))
