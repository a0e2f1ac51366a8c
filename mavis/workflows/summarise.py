"""A run directory -> what it found. Everything here is a function of the stored tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mavis.analysis import cue_detection, map_agreement, model_validity
from mavis.analysis.findings import DataStamp, Failure, Findings, ModelFindings, ProtocolStamp, RunStamp, Validity
from mavis.analysis.groups import rules_of
from mavis.core.errors import MavisError, StoreError
from mavis.core.group_attributes import joined
from mavis.core.registry import Registry, explainers, metric_of, metrics
from mavis.core.traits import ExplainerTraits, MetricTraits
from mavis.decision import leaderboard, overall_score, recommendation
from mavis.decision.leaderboard import Cast
from mavis.decision.refusals import Evidence
from mavis.engine.store import Store
from mavis.protocol import demotions
from mavis.protocol.loading import parse
from mavis.protocol.schema import Protocol
from mavis.report import Tile

MOST_NAMED = 3
"""So many explainers or metrics that were not run are named together; more are counted."""

CAVEATS = (
    "The scores describe explanations of this model on these images.",
    "They do not show that the model is fair, nor that highlighted regions cause the attribute.",
    "Group labels are annotations, not facts about the persons shown. Nothing here is for decisions about a person.",
    "Intervals speak of the images, not of retraining the model: another training run is another model.",
)


def findings(store: Store) -> Findings:
    """Everything that a run found so far.

    Raises:
        StoreError: no block is finished.
    """
    identity = store.identity()
    rules = parse(identity["protocol"], str(store.folder))
    scores, images, logs = store.table(), store.images(), store.logs()
    if not len(scores):
        raise StoreError(f"{store.folder} holds no finished block yet; repeat the command that began the run.")
    deciding, demoted = demotions.without_demoted(rules)
    models = tuple(_told(_model(name, store, identity, deciding, scores), demoted) for name in identity["models"])
    once = images.drop_duplicates("image").set_index("image")
    return Findings(
        protocol=_protocol_stamp(identity, rules),
        data=_data_stamp(identity, rules, images),
        run=RunStamp(
            mavis=identity["mavis"],
            versions=identity["versions"],
            device=identity["device"],
            seed=identity["seed"],
            git=identity["git"],
            forwards=sum(log.forwards for log in logs),
            backwards=sum(log.backwards for log in logs),
            seconds=sum(log.seconds for log in logs),
            peak_memory_mib=_peak(store),
            blocks_done=len(logs),
            blocks_planned=len(identity["blocks"]),
        ),
        models=models,
        twins=cue_detection.compare(scores, images, models, rules_of(rules, once)),
        across_models=overall_score.across(models, rules),
        failures=tuple(Failure(**failure) for log in logs for failure in log.failures),
        skipped=tuple(_skipped(identity["skipped"], len(rules.metrics))),
        caveats=(*CAVEATS, *_left_out(demoted)),
    )


def curve_means(store: Store) -> pd.DataFrame:
    """Mean perturbation curves: ``model, explainer, imputer, order, x, attribute, group, mean, n``; group "" is all."""
    curves, images = store.curves(), store.images()
    columns = ["model", "explainer", "imputer", "order", "x", "attribute", "group", "mean", "n"]
    if not len(curves):
        return pd.DataFrame(columns=columns)
    primary = parse(store.identity()["protocol"], str(store.folder)).data.groups[0]
    names = joined(images.drop_duplicates("image").set_index("image"), primary)
    parts = [curves.assign(group=""), curves.assign(group=curves["image"].map(names))]
    by = ["model", "explainer", "imputer", "order", "x", "group"]
    means = pd.concat(parts).groupby(by, sort=False)["y"].agg(["mean", "count"]).reset_index()
    return means.rename(columns={"count": "n"}).assign(attribute=primary)[columns]


def tiles(store: Store) -> list[Tile]:
    """The maps that were kept, one image per group."""
    identity, kept = store.identity(), store.maps()
    rules = parse(identity["protocol"], str(store.folder))
    classes = identity["data"]["classes"]
    found = []
    for row in store.images().to_dict("records"):
        image = kept.get((row["model"], "", row["image"]))
        for explainer in identity["explainers"]:
            values = kept.get((row["model"], explainer, row["image"]))
            if image is not None and values is not None:
                found.append(
                    Tile(
                        model=row["model"],
                        explainer=explainer,
                        role=explainers[explainer].traits.role,
                        image_id=row["image"],
                        groups={a: str(row[a]) for a in rules.data.groups if "*" not in a},
                        label=classes[row["label"]],
                        predicted=classes[row["predicted"]],
                        probability=float(row["probability"]),
                        image=image,
                        map=values.astype(np.float32),
                    )
                )
    return found


def _model(
    name: str, store: Store, identity: Mapping[str, Any], rules: Protocol, scores: pd.DataFrame
) -> ModelFindings:
    own, images = _of(scores, name), store.images()
    shown = _of(images, name).set_index("image")
    shown = shown.loc[shown.index.isin(own["image"].unique())] if len(own) else shown
    valid = _validity(name, store, identity, rules, shown)
    cast, card = _cast(identity, rules, name), identity["models"][name]["card"]
    counted = overall_score.counting(rules, list(cast.metrics), card, truth_verified=valid.truth_verified)
    standing = overall_score.stand(own, shown, cast.metrics, counted, rules)
    entries = leaderboard.build(own, shown, cast, rules, standing)
    kept = _of(store.measured("reliability"), name)
    reliable = model_validity.reliability(kept, shown, rules_of(rules), rules.reliability)
    return ModelFindings(
        model=name,
        revision=identity["models"][name]["revision"],
        card=card,
        validity=valid,
        reliability=reliable,
        explainers=entries,
        agreement=map_agreement.summarise(_of(store.agreement(), name), shown, rules_of(rules)),
        recommendation=recommendation.recommend(
            Evidence(
                entries=entries,
                standing=standing,
                validity=valid,
                counts={str(g): int(n) for g, n in joined(shown, rules.data.groups[0]).value_counts().items()},
                reliability=reliable,
                stochastic=frozenset(e for e, traits in cast.explainers.items() if traits.stochastic),
                models=len(identity["models"]),
            ),
            rules,
        ),
    )


def _validity(name: str, store: Store, identity: Mapping[str, Any], rules: Protocol, shown: pd.DataFrame) -> Validity:
    """Accuracy on the images that are scored; leaks and reliance, which were measured before, on all."""
    means, every = rules_of(rules), _of(store.images(), name).set_index("image")
    relied = model_validity.reliance(_of(store.measured("reliance"), name), every, means, rules.reliance)
    return model_validity.assess(shown, tuple(identity["data"]["classes"]), rules_of(rules, shown)).model_copy(
        update={
            "leak": model_validity.leak(_of(store.measured("leak"), name), every, means, rules.data.leak),
            "reliance": relied,
            "truth_verified": model_validity.truth_verified(relied),
        }
    )


def _left_out(demoted: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence that names the demoted metrics; none where there are none."""
    names = ", ".join(demoted)
    return (f"The meta-evaluation keeps {names} from the decision; the recommendation says why.",) if names else ()


def _told(found: ModelFindings, demoted: Mapping[str, str]) -> ModelFindings:
    """The findings with what the decision leaves out because the meta-evaluation speaks against it."""
    answer = found.recommendation
    lines = tuple(f"{metric} is left out of the decision: {why}" for metric, why in demoted.items())
    told = answer.model_copy(update={"not_assessed": (*answer.not_assessed, *lines)})
    return found.model_copy(update={"recommendation": told})


def _of(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """One model's rows."""
    return table[table["model"] == model] if len(table) else table


def _cast(identity: Mapping[str, Any], rules: Protocol, model: str) -> Cast:
    missing = {(e, m): why for e, m, why in identity["skipped"].get(model, [])}
    for explainer in identity["explainers"]:
        reasons = {missing.get((explainer, m)) for m in rules.metrics}
        if len(reasons) == 1 and None not in reasons:
            missing[explainer, ""] = str(reasons.pop())
    return Cast(
        explainers={name: _traits(explainers, name) for name in identity["explainers"]},
        metrics={label: _traits(metrics, metric_of(label)) for label in rules.metrics},
        about={name: explainers[name].summary for name in identity["explainers"]},
        missing=missing,
        classes=len(identity["data"]["classes"]),
        parameters={name: tuple(explainers[name].parameters()) for name in identity["explainers"]},
    )


def _traits(registry: Registry, name: str) -> Any:
    try:
        traits: ExplainerTraits | MetricTraits = registry[name].traits
    except MavisError as error:
        raise StoreError(f"The run used the {registry.kind} '{name}', which is not registered here: {error}") from error
    return traits


def _skipped(skipped: Mapping[str, list[list[str]]], every: int) -> list[str]:
    """One line per model, metrics and reason; explainers and metrics by name, or by number where they are many."""
    lines = []
    for model, found in skipped.items():
        lost: dict[tuple[str, str], list[str]] = {}
        for explainer, metric, why in found:
            lost.setdefault((explainer, why), []).append(metric)
        alike: dict[tuple[tuple[str, ...], str], list[str]] = {}
        for (explainer, why), names in lost.items():
            alike.setdefault((tuple(names), why), []).append(explainer)
        for (same, why), who in alike.items():
            what = [_counted(who, "explainers"), *([] if len(same) == every else [_counted(same, "metrics")])]
            lines.append(f"{' / '.join([model, *what])}: {why}")
    return lines


def _counted(names: Sequence[str], what: str) -> str:
    return ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} {what}"


def _protocol_stamp(identity: Mapping[str, Any], rules: Protocol) -> ProtocolStamp:
    return ProtocolStamp(
        name=rules.protocol,
        status=rules.status,
        sha256=identity["protocol_sha256"],
        overrides=tuple(identity["overrides"]),
        primary=rules.decide.primary,
        confidence=rules.aggregate.confidence,
        min_report=rules.data.n_per_group.min_report,
        min_claim=rules.data.n_per_group.min_claim,
    )


def _data_stamp(identity: Mapping[str, Any], rules: Protocol, images: pd.DataFrame) -> DataStamp:
    data, once = identity["data"], images.drop_duplicates("image")
    counts = {
        a: {str(k): int(v) for k, v in joined(once, a).value_counts(sort=False).items()} for a in rules.data.groups
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


def _peak(store: Store) -> float | None:
    peaks = [log.peak_mib for log in store.logs() if log.peak_mib is not None]
    return max(peaks) if peaks else None
