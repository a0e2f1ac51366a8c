"""A run directory -> what it found. Everything here is a function of the stored tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mavis.analysis import cue_detection, map_agreement, model_validity
from mavis.analysis.findings import (
    DataStamp,
    Failure,
    Findings,
    ModelFindings,
    Note,
    ProtocolStamp,
    RunStamp,
    Skipped,
    Validity,
    make_note,
)
from mavis.analysis.groups import bootstrap_settings
from mavis.core.errors import MavisError, StoreError
from mavis.core.group_attributes import NO_GROUP, group_labels
from mavis.core.registry import Registry, explainers, metric_name, metrics
from mavis.core.traits import ExplainerTraits, MetricTraits
from mavis.decision import leaderboard, overall_score, recommendation
from mavis.decision.leaderboard import Participants
from mavis.decision.refusals import Evidence
from mavis.engine.store import Store
from mavis.protocol import demotions
from mavis.protocol.loading import parse_protocol
from mavis.protocol.schema import Protocol
from mavis.report import Tile

CAVEATS = ("caveat.scope", "caveat.fairness", "caveat.labels", "caveat.intervals")
"""Codes of the caveats that every run has."""


def build_findings(store: Store) -> Findings:
    """Everything that a run found so far.

    Raises:
        StoreError: no block is finished.
    """
    identity = store.identity()
    protocol = parse_protocol(identity["protocol"], str(store.folder))
    scores, images, logs = store.scores(), store.images(), store.logs()
    if not len(scores):
        raise StoreError(f"{store.folder} holds no finished block yet; repeat the command that began the run.")
    deciding, demoted = demotions.without_demoted(protocol)
    models = tuple(
        _with_demotions(_model_findings(name, store, identity, deciding, scores), demoted)
        for name in identity["models"]
    )
    once = images.drop_duplicates("image").set_index("image")
    return Findings(
        protocol=_protocol_stamp(identity, protocol),
        data=_data_stamp(identity, protocol, images),
        run=RunStamp(
            mavis=identity["mavis"],
            versions=identity["versions"],
            device=identity["device"],
            seed=identity["seed"],
            git=identity["git"],
            forwards=sum(log.forwards for log in logs),
            backwards=sum(log.backwards for log in logs),
            seconds=sum(log.seconds for log in logs),
            peak_memory_mib=_peak_memory(store),
            blocks_done=len(logs),
            blocks_planned=len(identity["blocks"]),
        ),
        models=models,
        twins=cue_detection.score_cue_detection(
            scores, images, models, bootstrap_settings(protocol, once), protocol.target.policy
        ),
        across_models=overall_score.compare_across_models(models, protocol),
        failures=tuple(Failure(**failure) for log in logs for failure in log.failures),
        skipped=tuple(_skipped_cells(identity["skipped"], len(protocol.metrics))),
        caveats=(*(make_note(code) for code in CAVEATS), *_demotion_caveats(demoted)),
    )


def curve_means(store: Store) -> pd.DataFrame:
    """Mean perturbation curves: ``model, explainer, imputer, order, x, attribute, group, mean, n``; group "" is all."""
    curves, images = store.curves(), store.images()
    columns = ["model", "explainer", "imputer", "order", "x", "attribute", "group", "mean", "n"]
    if not len(curves):
        return pd.DataFrame(columns=columns)
    primary = parse_protocol(store.identity()["protocol"], str(store.folder)).data.groups[0]
    names = group_labels(images.drop_duplicates("image").set_index("image"), primary)
    parts = [curves.assign(group=""), curves.assign(group=curves["image"].map(names))]
    by = ["model", "explainer", "imputer", "order", "x", "group"]
    means = pd.concat(parts).groupby(by, sort=False)["y"].agg(["mean", "count"]).reset_index()
    return means.rename(columns={"count": "n"}).assign(attribute=primary)[columns]


def gallery_tiles(store: Store) -> list[Tile]:
    """The maps that were kept, one image per group."""
    identity, maps = store.identity(), store.maps()
    protocol = parse_protocol(identity["protocol"], str(store.folder))
    classes = identity["data"]["classes"]
    tiles, images = [], store.images()
    plain_attributes = [attribute for attribute in protocol.data.groups if "*" not in attribute]
    labels = pd.DataFrame({attribute: group_labels(images, attribute) for attribute in plain_attributes})
    for row, groups in zip(images.to_dict("records"), labels.to_dict("records"), strict=True):
        image = maps.get((row["model"], "", row["image"]))
        for explainer in identity["explainers"]:
            values = maps.get((row["model"], explainer, row["image"]))
            if image is not None and values is not None:
                tiles.append(
                    Tile(
                        model=row["model"],
                        explainer=explainer,
                        role=explainers[explainer].traits.role,
                        image_id=row["image"],
                        groups={str(a): group for a, group in groups.items() if group != NO_GROUP},
                        label=classes[row["label"]],
                        predicted=classes[row["predicted"]],
                        probability=float(row["probability"]),
                        image=image,
                        map=values.astype(np.float32),
                    )
                )
    return tiles


def _model_findings(
    name: str, store: Store, identity: Mapping[str, Any], protocol: Protocol, scores: pd.DataFrame
) -> ModelFindings:
    model_scores, images = _rows_of_model(scores, name), store.images()
    scored = _rows_of_model(images, name).set_index("image")
    scored = scored.loc[scored.index.isin(model_scores["image"].unique())] if len(model_scores) else scored
    validity = _validity(name, store, identity, protocol, scored)
    participants, card = _participants(identity, protocol, name), identity["models"][name]["card"]
    deciding = overall_score.deciding_metrics(
        protocol, list(participants.metrics), card, truth_verified=validity.truth_verified
    )
    score_table = overall_score.build_score_table(model_scores, scored, participants.metrics, deciding, protocol)
    entries = leaderboard.build_leaderboard(model_scores, scored, participants, protocol, score_table)
    kept_predictions = _rows_of_model(store.read_check("reliability"), name)
    imputer_reliability = model_validity.assess_imputer_reliability(
        kept_predictions, scored, bootstrap_settings(protocol), protocol.reliability
    )
    return ModelFindings(
        model=name,
        revision=identity["models"][name]["revision"],
        card=card,
        validity=validity,
        reliability=imputer_reliability,
        explainers=entries,
        agreement=map_agreement.summarise_agreement(
            _rows_of_model(store.agreement(), name), scored, bootstrap_settings(protocol)
        ),
        recommendation=recommendation.recommend(
            Evidence(
                entries=entries,
                score_table=score_table,
                validity=validity,
                group_counts={
                    str(g): int(n) for g, n in group_labels(scored, protocol.data.groups[0]).value_counts().items()
                },
                reliability=imputer_reliability,
                stochastic=frozenset(e for e, traits in participants.explainers.items() if traits.stochastic),
                n_models=len(identity["models"]),
            ),
            protocol,
        ),
    )


def _validity(
    name: str, store: Store, identity: Mapping[str, Any], protocol: Protocol, shown: pd.DataFrame
) -> Validity:
    """Accuracy on the images that are scored; leaks and reliance, which were measured before, on all."""
    means, images = bootstrap_settings(protocol), _rows_of_model(store.images(), name).set_index("image")
    relied = model_validity.assess_part_reliance(
        _rows_of_model(store.read_check("reliance"), name), images, means, protocol.reliance
    )
    return model_validity.assess_validity(
        shown, tuple(identity["data"]["classes"]), bootstrap_settings(protocol, shown)
    ).model_copy(
        update={
            "leak": model_validity.assess_leak(
                _rows_of_model(store.read_check("leak"), name), images, means, protocol.data.leak
            ),
            "reliance": relied,
            "truth_verified": model_validity.has_verified_truth(relied),
        }
    )


def _demotion_caveats(demoted: Mapping[str, str]) -> tuple[Note, ...]:
    """One caveat that names the demoted metrics; none where there are none."""
    return (make_note("caveat.demoted", metrics=[*demoted]),) if demoted else ()


def _with_demotions(findings: ModelFindings, demoted: Mapping[str, str]) -> ModelFindings:
    """The findings with the metrics that the decision leaves out because they failed the meta-evaluation."""
    answer = findings.recommendation
    notes = tuple(make_note("metric.demoted", metric=metric, reason=reason) for metric, reason in demoted.items())
    extended = answer.model_copy(update={"not_assessed": (*answer.not_assessed, *notes)})
    return findings.model_copy(update={"recommendation": extended})


def _rows_of_model(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """One model's rows."""
    return table[table["model"] == model] if len(table) else table


def _participants(identity: Mapping[str, Any], protocol: Protocol, model: str) -> Participants:
    missing = {(e, m): reason for e, m, reason in identity["skipped"].get(model, [])}
    for explainer in identity["explainers"]:
        reasons = {missing.get((explainer, m)) for m in protocol.metrics}
        if len(reasons) == 1 and None not in reasons:
            missing[explainer, ""] = str(reasons.pop())
    return Participants(
        explainers={name: _traits(explainers, name) for name in identity["explainers"]},
        metrics={label: _traits(metrics, metric_name(label)) for label in protocol.metrics},
        about={name: explainers[name].summary for name in identity["explainers"]},
        missing=missing,
        n_classes=len(identity["data"]["classes"]),
        parameter_names={name: tuple(explainers[name].parameters()) for name in identity["explainers"]},
    )


def _traits(registry: Registry, name: str) -> Any:
    try:
        traits: ExplainerTraits | MetricTraits = registry[name].traits
    except MavisError as error:
        raise StoreError(f"The run used the {registry.kind} '{name}', which is not registered here: {error}") from error
    return traits


def _skipped_cells(skipped: Mapping[str, list[list[str]]], n_metrics: int) -> list[Skipped]:
    """One entry per model, metrics and reason; explainers that lack the same metrics for it stand together."""
    entries = []
    for model, cells in skipped.items():
        metrics_of: dict[tuple[str, str], list[str]] = {}
        for explainer, metric, reason in cells:
            metrics_of.setdefault((explainer, reason), []).append(metric)
        explainers_of: dict[tuple[tuple[str, ...], str], list[str]] = {}
        for (explainer, reason), names in metrics_of.items():
            explainers_of.setdefault((tuple(names), reason), []).append(explainer)
        for (lost, reason), owners in explainers_of.items():
            metrics_lost = () if len(lost) == n_metrics else lost
            entries.append(Skipped(model=model, explainers=tuple(owners), metrics=metrics_lost, reason=reason))
    return entries


def _protocol_stamp(identity: Mapping[str, Any], protocol: Protocol) -> ProtocolStamp:
    return ProtocolStamp(
        name=protocol.protocol,
        status=protocol.status,
        sha256=identity["protocol_sha256"],
        overrides=tuple(identity["overrides"]),
        primary=protocol.decide.primary,
        confidence=protocol.aggregate.confidence,
        min_report=protocol.data.n_per_group.min_report,
        min_claim=protocol.data.n_per_group.min_claim,
    )


def _data_stamp(identity: Mapping[str, Any], protocol: Protocol, images: pd.DataFrame) -> DataStamp:
    data, once = identity["data"], images.drop_duplicates("image")
    counts = {
        a: {str(k): int(v) for k, v in group_labels(once, a).value_counts(sort=False).items() if k != NO_GROUP}
        for a in protocol.data.groups
    }
    return DataStamp(
        name=data["name"],
        target=data["target"],
        classes=tuple(data["classes"]),
        provenance=data["provenance"],
        revision=data["revision"],
        images=data["images"],
        groups=counts,
        notes=tuple(data["notes"]),
    )


def _peak_memory(store: Store) -> float | None:
    peaks = [log.peak_mib for log in store.logs() if log.peak_mib is not None]
    return max(peaks) if peaks else None
