"""Adapters that turn explainers of other libraries, unchanged, into explainer factories.

`as_explainer_factory` recognises a Captum attribution, a CAM class of pytorch-grad-cam, a composite of zennit, a
function in the manner of Quantus, and any function of model, images and targets. The registry calls it for every
explainer, so that ``mavis register explainer NAME --factory captum.attr:Saliency`` is enough.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from mavis.core.attribution_maps import upsample
from mavis.core.errors import MavisError, ModelError
from mavis.core.metric_types import Explainer
from mavis.core.registry import explainers
from mavis.explainers.external.isolation import ExternalCall, explainer_of
from mavis.explainers.rectifiers import require_relu_modules

ExplainerFactory = Callable[..., Explainer]

MODEL_PARAMETERS = frozenset({"classifier", "forward_func", "model", "net", "network"})
"""Names of parameters that take the network."""

CAPTUM_EXCLUDED_PARAMETERS = frozenset({"additional_forward_args", "inputs", "return_convergence_delta", "target"})
"""Parameters of Captum's methods that users cannot set."""

CAPTUM_MODULE_RULES = ("ModifiedReluGradientAttribution", "GuidedGradCam", "DeepLift", "LRP")
"""Captum's methods that change the gradient of modules, and pass over the same operation outside of a module."""


def as_explainer_factory(registered: Callable[..., Any]) -> ExplainerFactory:
    """A registered object as a factory of explainers; one that is a factory already is returned unchanged.

    Raises:
        MavisError: it takes a model, but no adapter fits its signature.
    """
    if isinstance(registered, type):
        return _class_as_factory(registered)
    required = _parameters_without_default(registered)
    if len(required) < 2 or required[0].name not in MODEL_PARAMETERS:
        return registered
    if len(required) != 3:
        raise MavisError(
            f"'{_label(registered)}' takes ({', '.join(parameter.name for parameter in required)}); an explainer that "
            "is a function takes (model, images, targets)."
        )
    return quantus(registered) if _takes_arrays(registered, required[1]) else function(registered)


def captum(attribution: type) -> ExplainerFactory:
    """An explainer of a Captum ``Attribution``; its own parameters and those of ``attribute`` are the explainer's.

    Baselines are the data set's mean colour unless given. A method of a layer gets the CAM layer, and its attributions
    are summed over the channels and enlarged. Where it takes a batch size for its own samples, that is the run's.

    Raises:
        MavisError: its constructor takes another attribution, not a model.
    """
    init_parameters, attribute_parameters = _parameters(attribution, "__init__"), _parameters(attribution, "attribute")
    if not init_parameters or init_parameters[0].name not in MODEL_PARAMETERS:
        raise MavisError(
            f"Captum's {attribution.__name__} is not made of a model alone. Write a function (model, images, targets) "
            "that makes it and returns its attributions, and register that."
        )
    takes_layer = any(parameter.name == "layer" for parameter in init_parameters)
    is_layer_method = _inherits(attribution, "captum.", "LayerAttribution")
    has_rules = any(_inherits(attribution, "captum.", name) for name in CAPTUM_MODULE_RULES)
    init_settings = [parameter for parameter in init_parameters[1:] if parameter.name != "layer"]
    call_settings = [
        _make_optional(parameter, "baselines")
        for parameter in attribute_parameters
        if parameter.name not in CAPTUM_EXCLUDED_PARAMETERS
    ]
    accepted = {parameter.name for parameter in attribute_parameters}

    def attribute(call: ExternalCall, **params: Any) -> Any:
        init_params, call_params = _split_params(
            {name: _lists_to_tuples(value) for name, value in params.items()}, init_settings
        )
        method = attribution(call.net, *([call.cam_layer] if takes_layer else []), **init_params)
        modules_only = require_relu_modules(call.net, attribution.__name__) if has_rules else nullcontext()
        defaults = {
            "target": call.targets,
            "baselines": _mean_colour_baselines(call, attribute_parameters),
            **_batch_sizes(call),
        }
        with modules_only:
            attributions = method.attribute(call.images.requires_grad_(), **_select(accepted, defaults) | call_params)
        return _upsample_layer_attributions(attributions, call.images) if is_layer_method else attributions

    return _make_factory(attribution, attribute, [*init_settings, *call_settings])


def grad_cam(cam: type) -> ExplainerFactory:
    """An explainer of a CAM class in the manner of pytorch-grad-cam: made of model and layers, called with targets.

    The map is as the class returns it: pytorch-grad-cam cuts negative values and scales each map to [0,1].
    """
    init_parameters, call_parameters = _parameters(cam, "__init__")[2:], _parameters(cam, "__call__")[2:]

    def attribute(call: ExternalCall, **params: Any) -> Any:
        init_params, call_params = _split_params(params, init_parameters)
        classes = [_LogitTarget(target) for target in call.targets.tolist()]
        return cam(call.net, [call.cam_layer], **init_params)(call.images.requires_grad_(), classes, **call_params)

    return _make_factory(cam, attribute, [*init_parameters, *call_parameters])


def zennit(composite: type) -> ExplainerFactory:
    """An explainer of a zennit composite: relevance that starts with the target's logit.

    Batch normalisation is merged, and residual sums are shared in torchvision's ResNets; in other networks zennit gives
    each side of a sum the full relevance.
    """
    parameters = [parameter for parameter in _parameters(composite, "__init__") if parameter.name != "canonizers"]

    def attribute(call: ExternalCall, **params: Any) -> Tensor:
        gradient = import_module("zennit.attribution").Gradient
        composite_rules = composite(canonizers=[import_module("zennit.torchvision").ResNetCanonizer()], **params)

        def target_relevance(logits: Tensor) -> Tensor:
            return logits * nn.functional.one_hot(call.targets, logits.shape[1])

        with gradient(model=call.net, composite=composite_rules) as attributor:
            relevance: Tensor = attributor(call.images.requires_grad_(), target_relevance)[1]
        return relevance

    return _make_factory(composite, attribute, parameters)


def quantus(explain: Callable[..., Any]) -> ExplainerFactory:
    """An explainer of a function in the manner of Quantus: ``(model, inputs, targets, **kwargs)``, in arrays."""
    parameters = _parameters(explain)[3:]
    wants_device = any(p.name == "device" or p.kind is p.VAR_KEYWORD for p in parameters)

    def attribute(call: ExternalCall, **params: Any) -> Any:
        device = {"device": str(call.images.device)} if wants_device else {}
        arrays = (tensor.cpu().numpy() for tensor in (call.images, call.targets))
        return explain(call.net, *arrays, **device | params)

    return _make_factory(explain, attribute, [p for p in parameters if p.name != "device"])


def function(explain: Callable[..., Any]) -> ExplainerFactory:
    """An explainer of a function ``(model, images, targets)`` in tensors; its other parameters are the explainer's."""

    def attribute(call: ExternalCall, **params: Any) -> Any:
        return explain(call.net, call.images, call.targets, **params)

    return _make_factory(explain, attribute, _parameters(explain)[3:])


def _class_as_factory(registered: type) -> ExplainerFactory:
    if _inherits(registered, "captum.", "Attribution"):
        return captum(registered)
    if _inherits(registered, "zennit.", "Composite"):
        return zennit(registered)
    parameter_names = [parameter.name for parameter in _parameters(registered, "__init__")]
    if parameter_names[:2] == ["model", "target_layers"]:
        return grad_cam(registered)
    if parameter_names and parameter_names[0] in MODEL_PARAMETERS:
        raise MavisError(
            f"'{_label(registered)}' is made of a model, but is no class of Captum or zennit, nor made of "
            "(model, target_layers). Write a function (model, images, targets) that calls it, and register that."
        )
    return registered


def _takes_arrays(explain: Callable[..., Any], images_parameter: inspect.Parameter) -> bool:
    """True if a function takes arrays: by its annotation, or by Quantus's name ``inputs`` beside ``**kwargs``.

    Raises:
        MavisError: the name is Quantus's, and neither annotation nor ``**kwargs`` decides.
    """
    kind = str(images_parameter.annotation)
    if "ndarray" in kind or "Tensor" in kind:
        return "ndarray" in kind
    if images_parameter.name != "inputs":
        return False
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in _parameters(explain)):
        return True
    raise MavisError(
        f"'{_label(explain)}' may want tensors or, as Quantus has it, arrays. Annotate 'inputs' as torch.Tensor or "
        "numpy.ndarray, or call it 'images' for tensors."
    )


class _LogitTarget:
    """The target of a CAM: one class's logit."""

    def __init__(self, class_index: int) -> None:
        self.class_index = class_index

    def __call__(self, logits: Tensor) -> Tensor:
        return logits[..., self.class_index]


def _make_factory(
    registered: Callable[..., Any], attribute: Callable[..., Any], parameters: Iterable[inspect.Parameter]
) -> ExplainerFactory:
    """A factory with the parameters, name and description of the object that it wraps."""
    keyword_parameters = [p if p.kind is p.VAR_KEYWORD else p.replace(kind=p.KEYWORD_ONLY) for p in parameters]
    if len({parameter.name for parameter in keyword_parameters}) < len(keyword_parameters):
        raise MavisError(
            f"'{_label(registered)}' has two parameters of one name, where it is made and where it is called."
        )

    def factory(**params: Any) -> Explainer:
        return explainer_of(lambda call: attribute(call, **params), _label(registered))

    factory.__doc__ = inspect.getdoc(registered)
    factory.__name__ = factory.__qualname__ = _label(registered)
    factory.__wrapped__ = registered  # type: ignore[attr-defined]
    factory.__signature__ = inspect.Signature(keyword_parameters)  # type: ignore[attr-defined]
    return factory


def _upsample_layer_attributions(attributions: Any, images: Tensor) -> Tensor:
    """A layer's attributions ``(N,C,h,w)`` summed over its channels, with the size of the images."""
    values: Tensor = attributions[0] if isinstance(attributions, tuple) else attributions
    if values.dim() != 4:
        raise ModelError(f"The CAM layer's output must be (N,C,h,w), got attributions {tuple(values.shape)}.")
    return upsample(values.detach().sum(1, keepdim=True), (images.shape[2], images.shape[3]))


def _mean_colour_baselines(call: ExternalCall, parameters: Sequence[inspect.Parameter]) -> Tensor:
    """The mean colour as baselines ``(1,3,H,W)``; twice where the method requires a set of them."""
    is_required = any(
        parameter.name == "baselines" and parameter.default is parameter.empty for parameter in parameters
    )
    colour = call.model_pass.mean[None, :, None, None]
    return colour.expand(2 if is_required else 1, -1, *call.images.shape[2:])


def _batch_sizes(call: ExternalCall) -> dict[str, int]:
    """Number of its own samples that a method may send to the model at a time, under Captum's two names."""
    chunk = call.model_pass.chunk
    return {"internal_batch_size": chunk, "perturbations_per_eval": max(1, chunk // len(call.images))}


def _parameters(obj: Any, method: str | None = None) -> list[inspect.Parameter]:
    """Parameters of a function, or the named ones of a class's method without ``self``; none without a signature."""
    try:
        parameters = list(inspect.signature(getattr(obj, method) if method else obj).parameters.values())
    except (TypeError, ValueError, AttributeError):
        return []
    open_ended = {inspect.Parameter.VAR_POSITIONAL, *([inspect.Parameter.VAR_KEYWORD] if method else [])}
    return [parameter for parameter in parameters[1 if method else 0 :] if parameter.kind not in open_ended]


def _parameters_without_default(function: Callable[..., Any]) -> list[inspect.Parameter]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p for p in _parameters(function) if p.kind in positional and p.default is p.empty]


def _make_optional(parameter: inspect.Parameter, name: str) -> inspect.Parameter:
    """The parameter; with the default None if it has this name."""
    return parameter.replace(default=None) if parameter.name == name else parameter


def _split_params(
    params: Mapping[str, Any], parameters: Sequence[inspect.Parameter]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of the given parameters, and the remaining values."""
    names = {parameter.name for parameter in parameters}
    return _select(names, params), {name: value for name, value in params.items() if name not in names}


def _select(names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _lists_to_tuples(value: Any) -> Any:
    """Lists, as YAML has them, as the tuples that Captum requires."""
    return tuple(map(_lists_to_tuples, value)) if isinstance(value, list) else value


def _inherits(cls: type, package: str, name: str) -> bool:
    return any(base.__module__.startswith(package) and base.__name__ == name for base in cls.__mro__)


def _label(obj: Any) -> str:
    return str(getattr(obj, "__name__", type(obj).__name__))


explainers.adapters.append(as_explainer_factory)
