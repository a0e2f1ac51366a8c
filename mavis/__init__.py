"""MAVIS: which explanation method can be trusted on this model, and is it as good for every group?

    import mavis

    result = mavis.evaluate("race_resnet", explainers=["saliency", "gradcam"], groups=["race"])
    print(result.summary())

Everything here is imported when it is first used, so that ``import mavis`` costs nothing.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mavis.core import torchvision_hook

if TYPE_CHECKING:
    from mavis.analysis.findings import Findings
    from mavis.core.attribution_maps import Maps, spearman
    from mavis.core.errors import BadParameter, DataError, MavisError, ModelError
    from mavis.core.hashing import digest
    from mavis.core.metric_types import (  # fmt: skip
        CostMetric,
        Curve,
        CustomMetric,
        Explanation,
        MapMetric,
        MaskProbe,
        ProbeMetric,
        ProbeOutputs,
        SweepMetric,
        VariantMetric,
    )
    from mavis.core.model_pass import Pass
    from mavis.core.perturbation.variants import Variant
    from mavis.core.registry import dataset, explainer, imputer, metric, model
    from mavis.core.types import Batch, Dataset, Model
    from mavis.datasets.loading.image_files import LabelledImages
    from mavis.explainers.external import adapters
    from mavis.workflows.evaluate import Evaluation, evaluate

torchvision_hook.install()

_PUBLIC = {
    "evaluate": "workflows.evaluate",
    "Evaluation": "workflows.evaluate",
    "Findings": "analysis.findings",
    "BadParameter": "core.errors",
    "DataError": "core.errors",
    "MavisError": "core.errors",
    "ModelError": "core.errors",
    "LabelledImages": "datasets.loading.image_files",
    "adapters": "explainers.external",
    "digest": "core.hashing",
    "spearman": "core.attribution_maps",
    "Batch": "core.types",
    "Dataset": "core.types",
    "Model": "core.types",
    "Pass": "core.model_pass",
    "Maps": "core.attribution_maps",
    "Variant": "core.perturbation.variants",
    "ProbeOutputs": "core.metric_types",
    "CostMetric": "core.metric_types",
    "Curve": "core.metric_types",
    "Explanation": "core.metric_types",
    "CustomMetric": "core.metric_types",
    "MapMetric": "core.metric_types",
    "MaskProbe": "core.metric_types",
    "ProbeMetric": "core.metric_types",
    "SweepMetric": "core.metric_types",
    "VariantMetric": "core.metric_types",
    "dataset": "core.registry",
    "explainer": "core.registry",
    "imputer": "core.registry",
    "metric": "core.registry",
    "model": "core.registry",
}

_DEPRECATED = {
    "Answers": "ProbeOutputs",
    "Explained": "Explanation",
    "FreeMetric": "CustomMetric",
    "Probe": "MaskProbe",
}
"""Former names of public classes; they resolve, with a warning, for one more version."""

__all__ = [
    "BadParameter",
    "Batch",
    "CostMetric",
    "Curve",
    "CustomMetric",
    "DataError",
    "Dataset",
    "Evaluation",
    "Explanation",
    "Findings",
    "LabelledImages",
    "MapMetric",
    "Maps",
    "MaskProbe",
    "MavisError",
    "Model",
    "ModelError",
    "Pass",
    "ProbeMetric",
    "ProbeOutputs",
    "SweepMetric",
    "Variant",
    "VariantMetric",
    "adapters",
    "dataset",
    "digest",
    "evaluate",
    "explainer",
    "imputer",
    "metric",
    "model",
    "spearman",
]


def __getattr__(name: str) -> Any:
    if name in _DEPRECATED:
        warnings.warn(f"mavis.{name} is now mavis.{_DEPRECATED[name]}.", DeprecationWarning, stacklevel=2)
        name = _DEPRECATED[name]
    if name == "errors":
        return import_module("mavis.errors")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mavis' has no attribute '{name}'")
    return getattr(import_module(f"mavis.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
