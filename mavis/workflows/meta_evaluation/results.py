"""Result of the meta-evaluation: the typed document that ``mavis verify`` prints and stores beside the protocol."""

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Final = 1
DEMOTING_TESTS: Final = ("M1", "M2", "M3", "M4", "M7", "M8", "M13")
"""Tests that a metric must pass to decide, where they apply to it."""

Verdict = Literal["passed", "failed", "reported", "not applicable"]


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Check(_StrictModel):
    """One test of one metric, or of a part of the benchmark."""

    id: str = Field(description="id of the test, e.g. 'M1'")
    test: str = Field(description="short name of the test")
    metric: str | None = Field(description="label in the protocol; null where the test is of no single metric")
    subject: str = Field(description="the model or the simulation that was tested")
    statistic: str = Field(description="name of the value")
    value: float | None = Field(description="null where there is none")
    criterion: str = Field(description="condition to pass; 'reported' where there is none")
    verdict: Verdict
    note: str = Field(default="", description="numbers behind the value, or why the test does not apply")

    @property
    def has_failed(self) -> bool:
        """True where the criterion is not met."""
        return self.verdict == "failed"


class Threshold(_StrictModel):
    """A threshold of the protocol that no paper gives, with the measurements behind it."""

    threshold: str = Field(description="path in the protocol, or its name in the specification")
    value: float
    measured: dict[str, float | None] = Field(description="measurements by name; null where one has no value")
    command: str = Field(description="command that repeats the measurement")
    verdict: str = Field(description="conclusion from the measurements")


class MetaEvaluation(_StrictModel):
    """All tests of one protocol's deciding metrics."""

    schema_version: int = SCHEMA_VERSION
    protocol: str
    sha256: str = Field(description="hash of the protocol's deciding metrics as they are set")
    rules: str = Field(description="hash of all rules, whatever the protocol's status and description")
    settings: dict[str, str] = Field(description="per deciding metric the hash of its name, parameters and grid")
    mavis: str
    quick: bool = Field(description="the reduced form, with fewer images and draws; it demotes nothing")
    seed: int
    minutes: float = Field(description="minutes of processor time")
    checks: tuple[Check, ...]
    applies: dict[str, dict[str, str]] = Field(
        description="per category and test: the criterion, or why it does not apply"
    )
    verified: tuple[str, ...] = Field(description="metrics that passed every test that applies to them")
    demoted: dict[str, str] = Field(description="metrics that failed one, with the reason")
    thresholds: tuple[Threshold, ...]

    def failures(self) -> tuple[Check, ...]:
        """Tests whose criterion is not met."""
        return tuple(check for check in self.checks if check.has_failed)


def criterion_check(
    check_id: str, test: str, metric: str | None, subject: str, statistic: str, *, value: float, criterion: str,
    passed: bool, note: str = "",
) -> Check:  # fmt: skip
    """A test with its verdict."""
    return Check(
        id=check_id, test=test, metric=metric, subject=subject, statistic=statistic, value=finite_or_none(value),
        criterion=criterion, verdict="passed" if passed else "failed", note=note,
    )  # fmt: skip


def descriptive_check(
    check_id: str, test: str, metric: str | None, subject: str, statistic: str, *, value: float, note: str = ""
) -> Check:
    """A figure that is reported without a criterion."""
    return Check(
        id=check_id, test=test, metric=metric, subject=subject, statistic=statistic, value=finite_or_none(value),
        criterion="reported", verdict="reported", note=note,
    )  # fmt: skip


def finite_or_none(value: float) -> float | None:
    """The value with six digits; None where it is not finite."""
    number = float(value)
    return float(f"{number:.6g}") if abs(number) < float("inf") else None


def demotion_reasons(checks: tuple[Check, ...], metrics: tuple[str, ...]) -> dict[str, str]:
    """Per demoted metric the required tests that it failed, with the numbers."""
    failures: dict[str, list[str]] = {}
    for check in checks:
        if check.has_failed and check.metric in metrics and check.id in DEMOTING_TESTS:
            value = "no value" if check.value is None else f"{check.value:.3g}"
            text = f"{check.id} on {check.subject}: {check.statistic} {value}, asked {check.criterion}"
            failures.setdefault(str(check.metric), []).append(text)
    return {metric: "; ".join(texts) for metric, texts in failures.items()}


def finite_values(measured: Mapping[str, float]) -> dict[str, float | None]:
    """Measured values in the form that the document holds."""
    return {name: finite_or_none(value) for name, value in measured.items()}
