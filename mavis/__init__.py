"""MAVIS: which explanation method can be trusted on this model, and is it as good for every group?

    import mavis

    result = mavis.evaluate("race_resnet", explainers=["saliency", "gradcam"], groups=["race"])
    print(result.summary())

Everything here is imported when it is first used, so that ``import mavis`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mavis import torchvision_hook

if TYPE_CHECKING:
    from mavis.errors import MavisError
    from mavis.evaluation import Evaluation, evaluate
    from mavis.findings import Findings
    from mavis.kinds import (
        Answers,
        CostMetric,
        Curve,
        Explained,
        FreeMetric,
        MapMetric,
        Probe,
        ProbeMetric,
        SweepMetric,
        VariantMetric,
    )  # fmt: skip
    from mavis.maps import Maps
    from mavis.passes import Pass
    from mavis.registry import dataset, explainer, imputer, metric, model
    from mavis.types import Batch, Dataset, Model
    from mavis.variants import Variant

torchvision_hook.install()

_PUBLIC = {
    "evaluate": "evaluation",
    "Evaluation": "evaluation",
    "Findings": "findings",
    "MavisError": "errors",
    "Batch": "types",
    "Dataset": "types",
    "Model": "types",
    "Pass": "passes",
    "Maps": "maps",
    "Variant": "variants",
    "Answers": "kinds",
    "CostMetric": "kinds",
    "Curve": "kinds",
    "Explained": "kinds",
    "FreeMetric": "kinds",
    "MapMetric": "kinds",
    "Probe": "kinds",
    "ProbeMetric": "kinds",
    "SweepMetric": "kinds",
    "VariantMetric": "kinds",
    "dataset": "registry",
    "explainer": "registry",
    "imputer": "registry",
    "metric": "registry",
    "model": "registry",
}

__all__ = [
    "Answers",
    "Batch",
    "CostMetric",
    "Curve",
    "Dataset",
    "Evaluation",
    "Explained",
    "Findings",
    "FreeMetric",
    "MapMetric",
    "Maps",
    "MavisError",
    "Model",
    "Pass",
    "Probe",
    "ProbeMetric",
    "SweepMetric",
    "Variant",
    "VariantMetric",
    "dataset",
    "evaluate",
    "explainer",
    "imputer",
    "metric",
    "model",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mavis' has no attribute '{name}'")
    return getattr(import_module(f"mavis.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
