"""Origin of stored scores: the rules, data, weights and version under which they were measured, and what differs."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mavis.core.errors import StoreError
from mavis.core.hashing import canonical_json
from mavis.core.registry import Registry, explainers, metric_name, metrics

MAX_NAMED = 3
"""Settings named in a refusal; more are counted."""


@dataclass(frozen=True)
class ScoreOrigin:
    """Origin of scores.

    Attributes:
        mavis: version of MAVIS.
        protocol: name of the protocol.
        protocol_sha256: its hash.
        rules: settings that decide every score: ``seed``, ``grid``, ``target``.
        metrics: per label the parameters, defaults filled in.
        explainers: per name the parameters, defaults filled in.
        data: ``name``, ``target`` and ``revision``.
        models: per name the revision of the weights.
    """

    mavis: str
    protocol: str
    protocol_sha256: str
    rules: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    explainers: Mapping[str, Mapping[str, Any]]
    data: Mapping[str, str]
    models: Mapping[str, str]

    def to_json(self) -> str:
        """The origin as JSON, equal for equal origins."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "ScoreOrigin":
        """The origin that `to_json` wrote.

        Raises:
            StoreError: it is none.
        """
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise StoreError(f"The baseline does not say what its scores belong to ({error}); save it anew.") from error


def origin_of_run(identity: Mapping[str, Any]) -> ScoreOrigin:
    """The origin of a run's scores.

    Args:
        identity: the content of its ``run.json``.
    """
    protocol = identity["protocol"]
    return ScoreOrigin(
        mavis=identity["mavis"],
        protocol=protocol["protocol"],
        protocol_sha256=identity["protocol_sha256"],
        rules={"seed": identity["seed"], "grid": protocol["grid"], "target": protocol["target"]},
        metrics={label: _with_defaults(metrics, metric_name(label), p) for label, p in protocol["metrics"].items()},
        explainers={name: _with_defaults(explainers, name, p) for name, p in identity["explainers"].items()},
        data={key: identity["data"][key] for key in ("name", "target", "revision")},
        models={name: model["revision"] for name, model in identity["models"].items()},
    )


def check_same_rules(before: ScoreOrigin, now: ScoreOrigin, *, compared: Mapping[str, Collection[str]]) -> None:
    """Refuses a comparison of numbers that measure different things.

    Args:
        before: of the baseline.
        now: of the run.
        compared: labels of the ``metrics`` and names of the ``explainers`` that both have.

    Raises:
        StoreError: another data set or target, or other settings of what is compared; it names what differs.
    """
    parts = [("data", _data_kind(before), _data_kind(now)), ("", before.rules, now.rules)]
    parts += [(name, before.metrics.get(name, {}), now.metrics[name]) for name in sorted(compared["metrics"])]
    parts += [(name, before.explainers.get(name, {}), now.explainers[name]) for name in sorted(compared["explainers"])]
    differences = [difference for name, a, b in parts for difference in _differences(name, a, b)]
    if differences:
        more = f" and {len(differences) - MAX_NAMED} more" if len(differences) > MAX_NAMED else ""
        raise StoreError(
            f"The baseline was measured under other settings ({before.protocol}, here {now.protocol}) and cannot be "
            "compared: "
            + "; ".join(f"{path} is {old} in the baseline, {new} here" for path, old, new in differences[:MAX_NAMED])
            + f"{more}. Run with those settings, or save a new baseline."
        )


def _with_defaults(registry: Registry, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with the defaults of those that are not named, as plain values."""
    declared = registry[name].parameters() if name in registry else {}
    defaults = {key: p.default for key, p in declared.items() if p.default is not p.empty}
    plain: dict[str, Any] = json.loads(json.dumps({**defaults, **params}, default=str))
    return plain


def _data_kind(origin: ScoreOrigin) -> dict[str, str]:
    """Data set, without the path of its folder, and target."""
    return {"name": origin.data["name"].partition(":")[0], "target": origin.data["target"]}


def _differences(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Path of each setting that differs, and its two values as text."""
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key):
            yield f"{name}.{key}" if name else key, _value_text(before.get(key)), _value_text(now.get(key))


def _value_text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
