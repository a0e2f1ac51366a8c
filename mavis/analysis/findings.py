"""Findings: the typed document that every report shows and that ``leaderboard.json`` holds.

It holds codes and values, no sentences: `mavis.report.wording` turns a `Note`, a gate or a refusal into text.
Numbers that do not exist are null, never 0 or NaN. Intervals are percentile bootstrap intervals over images, stratified
by group, unless a field says otherwise; they are conditional on the model.
"""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

SCHEMA_VERSION: Final = 2


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Note(_Strict):
    """A statement as a code and its values; `mavis.report.wording` turns it into a sentence."""

    code: str = Field(description="e.g. 'gap.found'; part of the document's format, like a field's name")
    values: dict[str, JsonValue] = Field(default_factory=dict, description="names and numbers that the statement cites")


def make_note(code: str, /, **values: Any) -> Note:
    """A note with these values.

    Args:
        code: which statement.
        values: JSON values: texts, numbers, lists and dictionaries of them.
    """
    return Note(code=code, values=values)


class Estimate(_Strict):
    """A mean with its interval."""

    mean: float | None = Field(description="null where no image has a value")
    low: float | None = Field(description="lower end of the interval; null where n is below the protocol's minimum")
    high: float | None = Field(description="upper end of the interval")
    n: int = Field(description="images with a value")


class GroupValue(_Strict):
    """One group's mean."""

    attribute: str = Field(description="e.g. 'race', or 'race*gender' for an intersection")
    group: str = Field(description="e.g. 'cedar', or 'cedar*form_a'")
    estimate: Estimate
    undefined: int = Field(description="images of the group for which the metric has no value")
    failed: int = Field(description="images of the group for which the explainer or the metric failed")
    suppressed: bool = Field(description="true where n is below the protocol's minimum to report: the mean is null")
    partial_pooled_mean: float | None = Field(
        default=None, description="of an intersection: the mean drawn towards the whole as far as noise explains it"
    )


class PairGap(_Strict):
    """Gap between two groups: the first's mean minus the second's, in skill units where the metric has them."""

    first: str
    second: str
    raw: Estimate = Field(description="the total; never adjusted away")
    matched: Estimate = Field(description="among images alike in what the protocol matches")
    adjusted: Estimate = Field(description="at equal covariates, under a linear model")
    matched_share: float = Field(description="share of the two groups' images that the matched gap rests on")
    p: float | None = Field(description="of the adjusted gap, corrected for the number of pairs (Holm) or tests (BH)")
    equivalent: bool = Field(description="shown to lie within the protocol's margin")


class Gap(_Strict):
    """Largest difference between the means of an attribute's groups, among groups large enough to report."""

    attribute: str
    range: Estimate = Field(description="highest minus lowest mean; biased upwards, see null_mean")
    null_mean: float | None = Field(
        description="mean range when labels are permuted among alike images; what no gap is"
    )
    p: float | None = Field(description="permutation p-value of the range, (1 + as extreme) / (1 + draws)")
    best_group: str
    worst_group: str
    worst_group_mean: Estimate
    n_sufficient: bool = Field(description="every compared group has the protocol's minimum number for a claim")
    excess: float | None = Field(default=None, description="range minus null_mean")
    ratio: float | None = Field(
        default=None, description="worst over best group mean, in skill units; null if best ≤ 0"
    )
    shortfall: Estimate | None = Field(default=None, description="mean of the groups minus that of the worst")
    mean_pairwise: Estimate | None = Field(default=None, description="mean absolute difference of two groups")
    corrected_sd: Estimate | None = Field(default=None, description="between the true group means, noise taken off")
    pairs: tuple[PairGap, ...] = Field(default=(), description="every two groups; only of metrics that decide")
    significant: bool | None = Field(default=None, description="by the protocol's rule; null where it was not asked")
    equivalent: bool | None = Field(default=None, description="every pair is shown to be equivalent; null if not asked")
    statement: Note | None = Field(default=None, description="what may be claimed of it; null where it was not asked")


class MetricSummary(_Strict):
    """One metric of one explainer on one model."""

    metric: str
    category: str
    higher_is_better: bool | None = Field(description="null for what only describes and is never ranked")
    unit: str
    chance: float | None
    estimate: Estimate = Field(description="macro mean: every group of the first attribute has equal weight")
    weighted_mean: float | None = Field(description="mean with every image of the data set weighing the same")
    undefined: int
    failed: int
    rank: float | None = Field(description="average rank among the methods; null for what is no method")
    groups: tuple[GroupValue, ...]
    gaps: tuple[Gap, ...]
    missing: str | None = Field(description="why there is no value at all, e.g. what the model lacks")


class Gate(_Strict):
    """A condition that a method must meet before it is ranked."""

    id: str = Field(description="e.g. 'G3'")
    code: str = Field(description="the outcome, e.g. 'G3.changed', or why there is none, e.g. 'open.no_values'")
    passed: bool | None = Field(description="null where it could not be assessed")
    value: float | None
    threshold: float | None
    values: dict[str, JsonValue] = Field(default_factory=dict, description="further names and numbers of the outcome")
    impossible: bool = Field(
        default=False,
        description="the model does not give what the gate, or a part of it, needs; then the method is provisional",
    )


class Skill(_Strict):
    """A metric's score on the scale from the zero of the protocol's reference, 0, to the reference, 1."""

    metric: str
    category: str
    skill: Estimate
    groups: dict[str, float] = Field(description="per group of the first attribute that is large enough to report")


class ExplainerEntry(_Strict):
    """One row of the leaderboard."""

    explainer: str
    role: Literal["method", "control", "oracle", "reference"]
    about: str
    metrics: tuple[MetricSummary, ...]
    gates: tuple[Gate, ...]
    eligible: bool = Field(description="a method that passed every gate that its model allows to be asked")
    rank: float | None = Field(description="by the overall score, among methods; null for the others")
    rank_low: float | None = Field(default=None, description="lower end of the rank's interval")
    rank_high: float | None = Field(default=None, description="upper end of it")
    skills: tuple[Skill, ...] = Field(default=(), description="of the metrics that decide")
    categories: dict[str, Estimate] = Field(
        default_factory=dict, description="mean skill per category, worst_group too"
    )
    overall: Estimate | None = Field(default=None, description="weighted mean of the categories")
    dominated_by: str | None = Field(
        default=None, description="a method that is as good in every category, better in one"
    )
    missing: str | None = Field(description="why the explainer has no maps at all")


class GroupAccuracy(_Strict):
    """Accuracy within a group; Wilson interval."""

    attribute: str
    group: str
    correct: int
    estimate: Estimate
    weak: bool = Field(default=False, description="the model is not shown to beat chance in this group")
    calibration_error: float | None = Field(
        default=None, description="expected calibration error; null below the smallest number of images to report"
    )


class Leak(_Strict):
    """Evaluation images that were trained on."""

    known: bool = Field(description="whether the training images are known")
    exact: int = Field(description="images with the same pixels as a training image")
    near: int = Field(description="further images whose hash of 256 bits differs from a training image's by few")
    rate: float | None = Field(description="share of both among the evaluated images; null where not known")
    groups: dict[str, float] = Field(description="the same per group of the first attribute")
    excessive: bool = Field(description="the rate is above the protocol's limit")


class Reliance(_Strict):
    """Change of the target logit when a face part is drawn anew."""

    part: str
    change: Estimate = Field(description="mean absolute change")
    used: bool = Field(description="the model was shown to use it, by the protocol's rule")


class Validity(_Strict):
    """Model validity: accuracy against chance, and what else tells whether its explanations are worth a look."""

    accuracy: Estimate = Field(description="Wilson interval")
    balanced_accuracy: Estimate = Field(description="mean recall over the classes; bootstrap interval, by class")
    chance: float = Field(description="what the balanced accuracy is compared with: 1 / number of classes")
    better_than_chance: bool
    groups: tuple[GroupAccuracy, ...]
    cue: dict[str, float] = Field(
        description="accuracy where the injected cue agrees and where it disagrees with the label; empty without cue"
    )
    remarks: tuple[Note, ...]
    calibration_error: float | None = Field(
        default=None, description="expected calibration error, 10 bins of equal count"
    )
    recall: tuple[GroupAccuracy, ...] = Field(default=(), description="per class; attribute 'label'")
    leak: Leak | None = Field(default=None, description="null where the protocol does not ask for it")
    reliance: tuple[Reliance, ...] = Field(default=(), description="empty where it was not measured")
    truth_verified: bool | None = Field(
        default=None,
        description="localisation is scored against the parts that the model was shown to use; null where that was not "
        "measured, false where it uses none of them, or all",
    )

    @property
    def weak_groups(self) -> tuple[tuple[str, str], ...]:
        """Attribute and name of each group in which the model is not shown to beat chance."""
        return tuple((row.attribute, row.group) for row in self.groups if row.weak)

    @property
    def group_calibration(self) -> dict[tuple[str, str], float]:
        """Calibration error by attribute and group, of the groups that are large enough to report."""
        errors = {(row.attribute, row.group): row.calibration_error for row in self.groups}
        return {key: error for key, error in errors.items() if error is not None}


class CrossChecks(_Strict):
    """Leaders under alternative aggregations; printed beside the decision, never part of it."""

    borda: dict[str, float] = Field(description="weighted mean of normalised ranks per category, higher is better")
    mean_rank: dict[str, float] = Field(description="unweighted mean rank over the metrics that decide")
    smaa: dict[str, float] = Field(description="share of random weightings of the categories under which it leads")
    concordance: float | None = Field(description="Kendall's W of the metrics that decide, over the eligible methods")
    concordance_within: float | None = Field(
        default=None, description="the same over the metrics of the primary one's category alone"
    )
    concordance_upper: float | None = Field(default=None, description="upper end of its interval, which R5 looks at")
    leaders: dict[str, tuple[str, ...]] = Field(
        description="per imputer its leader, and those not shown to be worse by more than matters"
    )


class GapToLeader(_Strict):
    """Distance of one method's overall score to the leader's."""

    explainer: str
    mean: float | None = Field(description="the leader's score minus its own; null where no draw scores all methods")
    lower_bound: float | None = Field(description="lower end, corrected by Holm over all methods that are compared")
    is_worse: bool = Field(description="shown to be worse by more than the region of practical equivalence")
    dominated_by: str | None = Field(
        default=None, description="a method that is as good in every category and better in one"
    )


class GroupLead(_Strict):
    """A method that is shown to be better than the leader on the images of one group."""

    group: str
    explainer: str
    mean: float = Field(description="its overall score there minus the leader's")
    lower_bound: float = Field(description="lower end, corrected by Holm over all groups and methods")


class Refusal(_Strict):
    """A reason for which nothing is recommended."""

    code: str = Field(description="R1 to R12, docs/decision.md")
    kind: str = Field(description="which of the code's cases holds, e.g. 'R1.model' or 'R1.groups'")
    values: dict[str, JsonValue] = Field(description="the names and numbers that it rests on")


class Recommendation(_Strict):
    """The answer for one model."""

    status: Literal["recommended", "tied", "refused"]
    leader: str | None = Field(description="the eligible method with the highest overall score; null if none has one")
    set: tuple[str, ...] = Field(
        description="the leader, and methods not shown to be worse by more than matters; empty if refused"
    )
    pick: str | None = Field(description="default inside the set, by cost; null if there is none")
    pick_reason: Note | None = Field(description="how the default was chosen among tied methods; null without a tie")
    refusals: tuple[Refusal, ...]
    overall: dict[str, Estimate] = Field(description="overall score of the compared methods, the best first")
    leader_categories: dict[str, float] = Field(description="the leader's score per category")
    gaps_to_leader: tuple[GapToLeader, ...] = Field(description="of the other compared methods, the best first")
    group_leads: tuple[GroupLead, ...] = Field(description="groups in which another method beats the leader")
    other_leaders: dict[str, str] = Field(
        description="'borda', 'mean_rank' or 'smaa': the method outside the tied ones that leads by it"
    )
    prob_best: dict[str, float] = Field(description="share of bootstrap draws in which the method leads")
    weights: dict[str, float] = Field(description="of the categories that were there; sum 1")
    floor: str = Field(description="the explainer whose normalised score is 0")
    ceiling: str = Field(description="the explainer whose normalised score is 1 where a metric has no perfect value")
    rope: float = Field(description="region of practical equivalence: a smaller difference does not matter")
    provisional: tuple[Note, ...] = Field(
        description="what could not be assessed of a recommended method and could have changed the answer"
    )
    not_assessed: tuple[Note, ...] = Field(description="what else the answer does not rest on")
    cross_checks: CrossChecks | None


class Skipped(_Strict):
    """Explainers and metrics that were not run on a model, for one reason."""

    model: str
    explainers: tuple[str, ...]
    metrics: tuple[str, ...] = Field(description="empty where the explainers were not run at all")
    reason: str = Field(description="as the planning of the run recorded it")


class Failure(_Strict):
    """Something that raised; everything else went on."""

    stage: str
    model: str
    explainer: str | None
    metric: str | None
    images: int
    type: str
    message: str
    traceback: str


class Reliability(_Strict):
    """Share of predictions that stay when random cells are removed; Wilson intervals."""

    imputer: str
    fraction: float = Field(description="share of the cells removed")
    kept: Estimate
    groups: tuple[GroupAccuracy, ...] = Field(description="per group, 'correct' being the predictions kept")
    reliable: bool | None = Field(description="at the first fraction: enough predictions are kept; else null")
    uneven: tuple[str, ...] = Field(
        description="attributes whose highest and lowest group differ by more than the protocol allows and have "
        "intervals that do not meet"
    )


class Agreement(_Strict):
    """Agreement of two methods' maps, as macro means; described, never ranked."""

    first: str
    second: str
    n: int = Field(description="images on which both have a map")
    measures: dict[str, float] = Field(description="feature, rank, sign: of the top cells; spearman: of all")
    groups: dict[str, dict[str, dict[str, float]]] = Field(
        description="per attribute, group and measure the mean; groups below the protocol's minimum are left out"
    )


class ModelFindings(_Strict):
    """Everything about one model."""

    model: str
    revision: str
    card: dict[str, Any]
    validity: Validity
    reliability: tuple[Reliability, ...] = Field(description="empty where the protocol does not ask for it")
    explainers: tuple[ExplainerEntry, ...]
    agreement: tuple[Agreement, ...] = Field(description="empty where the protocol does not ask for it")
    recommendation: Recommendation


class CueDetection(_Strict):
    """Discrimination, by an explainer's mass on the cue, of a model that relies on it from one that relies less."""

    leaning: str
    other: str
    explainer: str
    reliance: tuple[float, float] = Field(
        description="accuracy where the cue agrees with the label minus where it disagrees, of either model"
    )
    more_reliance: Estimate = Field(description="reliance of the leaning model minus that of the other")
    auroc: Estimate = Field(
        description="over the images whose cue speaks for the class explained on the leaning model; 0.5 where the "
        "models cannot be told apart"
    )
    higher: Estimate = Field(
        description="share of these images with more mass on the cue under the leaning model than under the other, "
        "ties half"
    )


class AcrossModels(_Strict):
    """Methods compared over models as blocks; only with as many of them as the protocol asks for."""

    blocks: int
    mean_ranks: dict[str, float]
    friedman_p: float = Field(description="Iman and Davenport's form")
    critical_difference: float = Field(description="of two mean ranks, Nemenyi")
    leader_vs_next: dict[str, float] = Field(description="Bayesian signed rank: below, within, above the ROPE")


class ProtocolStamp(_Strict):
    """The protocol of the run."""

    name: str
    status: str
    sha256: str
    overrides: tuple[str, ...] = Field(description="what the command line changed; if any, this is a custom protocol")
    primary: str = Field(description="the metric that decides")
    confidence: float
    min_report: int
    min_claim: int


class DataStamp(_Strict):
    """The images of the run."""

    name: str
    target: str
    classes: tuple[str, ...]
    provenance: str
    revision: str
    images: int
    groups: dict[str, dict[str, int]] = Field(description="images per group, for every attribute and intersection")
    notes: tuple[str, ...]


class RunStamp(_Strict):
    """Software, device and cost of the run."""

    mavis: str
    versions: dict[str, str]
    device: str
    seed: int
    git: str | None
    forwards: int = Field(description="model samples really pushed forward, sharing included")
    backwards: int
    seconds: float
    peak_memory_mib: float | None
    blocks_done: int
    blocks_planned: int


class Findings(_Strict):
    """The whole document."""

    schema_version: Literal[2] = SCHEMA_VERSION
    protocol: ProtocolStamp
    data: DataStamp
    run: RunStamp
    models: tuple[ModelFindings, ...]
    twins: tuple[CueDetection, ...] = Field(description="empty with one model or without a cue in the data")
    across_models: AcrossModels | None = Field(default=None, description="null with fewer models than needed")
    failures: tuple[Failure, ...]
    skipped: tuple[Skipped, ...]
    caveats: tuple[Note, ...] = Field(description="what the scores do not show")
