"""Explainers of other libraries, unchanged, as factories of explainers.

`as_explainer_factory` looks at an object and says what it is: a Captum attribution, a CAM class of pytorch-grad-cam, a
composite of
zennit, a function in the manner of Quantus, or any function of model, images and targets. The registry asks it about
every explainer, so that ``mavis register explainer NAME --factory captum.attr:Saliency`` is enough.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from mavis.core.attribution_maps import upsample
from mavis.core.errors import MavisError, ModelError
from mavis.core.metric_types import Explainer
from mavis.core.registry import explainers
from mavis.explainers.external.isolation import ExternalCall, explainer_of

ExplainerFactory = Callable[..., Explainer]

MODEL_PARAMETERS = frozenset({"classifier", "forward_func", "model", "net", "network"})
"""How a parameter is called that takes the network."""

CAPTUM_EXCLUDED_PARAMETERS = frozenset({"additional_forward_args", "inputs", "return_convergence_delta", "target"})
"""Parameters of Captum's methods that are not the user's to set."""


def as_explainer_factory(registered: Callable[..., Any]) -> ExplainerFactory:
    """What a registration names, as a factory of explainers; one that is a factory already is returned as it is.

    Raises:
        MavisError: it takes a model, but cannot be called by what is known of it.
    """
    if isinstance(registered, type):
        return _class_as_factory(registered)
    needed = _parameters_without_default(registered)
    if len(needed) < 2 or needed[0].name not in MODEL_PARAMETERS:
        return registered
    if len(needed) != 3:
        raise MavisError(
            f"'{_label(registered)}' takes ({', '.join(p.name for p in needed)}); an explainer that is a function "
            "takes "
            "(model, images, targets)."
        )
    return quantus(registered) if _takes_arrays(registered, needed[1]) else function(registered)


def captum(attribution: type) -> ExplainerFactory:
    """An explainer of a Captum ``Attribution``; its own parameters and those of ``attribute`` are the explainer's.

    Baselines are the data set's mean colour unless given. A method of a layer gets the CAM layer, and what it returns
    is summed over the channels and enlarged. Where it takes a batch size for its own samples, that is the run's.

    Raises:
        MavisError: it is made of another attribution, not of a model.
    """
    made, asked = _parameters(attribution, "__init__"), _parameters(attribution, "attribute")
    if not made or made[0].name not in MODEL_PARAMETERS:
        raise MavisError(
            f"Captum's {attribution.__name__} is not made of a model alone. Write a function (model, images, targets) "
            "that makes it and returns its attributions, and register that."
        )
    layered = any(parameter.name == "layer" for parameter in made)
    inner = _inherits(attribution, "captum.", "LayerAttribution")
    own = [parameter for parameter in made[1:] if parameter.name != "layer"]
    free = [
        _make_optional(parameter, "baselines")
        for parameter in asked
        if parameter.name not in CAPTUM_EXCLUDED_PARAMETERS
    ]
    takes = {parameter.name for parameter in asked}

    def attribute(call: ExternalCall, **params: Any) -> Any:
        given, rest = _split_params({name: _lists_to_tuples(value) for name, value in params.items()}, own)
        method = attribution(call.net, *([call.cam_layer] if layered else []), **given)
        ours = {"target": call.targets, "baselines": _mean_colour_baselines(call, asked), **_batch_sizes(call)}
        found = method.attribute(call.images.requires_grad_(), **_select(takes, ours) | rest)
        return _upsample_layer_attributions(found, call.images) if inner else found

    return _make_factory(attribution, attribute, [*own, *free])


def grad_cam(cam: type) -> ExplainerFactory:
    """An explainer of a CAM class in the manner of pytorch-grad-cam: made of model and layers, called with targets.

    The map is what the class makes of it: pytorch-grad-cam cuts negative values and scales each map to [0,1].
    """
    made, asked = _parameters(cam, "__init__")[2:], _parameters(cam, "__call__")[2:]

    def attribute(call: ExternalCall, **params: Any) -> Any:
        own, rest = _split_params(params, made)
        classes = [_LogitTarget(target) for target in call.targets.tolist()]
        return cam(call.net, [call.cam_layer], **own)(call.images.requires_grad_(), classes, **rest)

    return _make_factory(cam, attribute, [*made, *asked])


def zennit(composite: type) -> ExplainerFactory:
    """An explainer of a zennit composite: relevance that starts with the target's logit.

    Batch normalisation is merged, and residual sums are shared in torchvision's ResNets; in other networks zennit lets
    each side of a sum have all of it.
    """
    made = [parameter for parameter in _parameters(composite, "__init__") if parameter.name != "canonizers"]

    def attribute(call: ExternalCall, **params: Any) -> Tensor:
        gradient = import_module("zennit.attribution").Gradient
        rules = composite(canonizers=[import_module("zennit.torchvision").ResNetCanonizer()], **params)

        def start(logits: Tensor) -> Tensor:
            return logits * nn.functional.one_hot(call.targets, logits.shape[1])

        with gradient(model=call.net, composite=rules) as attributor:
            found: Tensor = attributor(call.images.requires_grad_(), start)[1]
        return found

    return _make_factory(composite, attribute, made)


def quantus(explain: Callable[..., Any]) -> ExplainerFactory:
    """An explainer of a function in the manner of Quantus: ``(model, inputs, targets, **kwargs)``, in arrays."""
    free = _parameters(explain)[3:]
    wants_device = any(p.name == "device" or p.kind is p.VAR_KEYWORD for p in free)

    def attribute(call: ExternalCall, **params: Any) -> Any:
        device = {"device": str(call.images.device)} if wants_device else {}
        arrays = (tensor.cpu().numpy() for tensor in (call.images, call.targets))
        return explain(call.net, *arrays, **device | params)

    return _make_factory(explain, attribute, [p for p in free if p.name != "device"])


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
    made = [parameter.name for parameter in _parameters(registered, "__init__")]
    if made[:2] == ["model", "target_layers"]:
        return grad_cam(registered)
    if made and made[0] in MODEL_PARAMETERS:
        raise MavisError(
            f"'{_label(registered)}' is made of a model, but is no class of Captum or zennit, nor made of "
            "(model, target_layers). Write a function (model, images, targets) that calls it, and register that."
        )
    return registered


def _takes_arrays(explain: Callable[..., Any], images_parameter: inspect.Parameter) -> bool:
    """Whether a function wants arrays: by its annotation, or by Quantus's name ``inputs`` beside ``**kwargs``.

    Raises:
        MavisError: the name says Quantus and nothing else does.
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
    """A factory with the parameters, name and description of what it wraps."""
    keyword = [p if p.kind is p.VAR_KEYWORD else p.replace(kind=p.KEYWORD_ONLY) for p in parameters]
    if len({parameter.name for parameter in keyword}) < len(keyword):
        raise MavisError(
            f"'{_label(registered)}' has two parameters of one name, where it is made and where it is called."
        )

    def factory(**params: Any) -> Explainer:
        return explainer_of(lambda question: attribute(question, **params), _label(registered))

    factory.__doc__ = inspect.getdoc(registered)
    factory.__name__ = factory.__qualname__ = _label(registered)
    factory.__wrapped__ = registered  # type: ignore[attr-defined]
    factory.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    return factory


def _upsample_layer_attributions(attributions: Any, images: Tensor) -> Tensor:
    """A layer's attributions ``(N,C,h,w)`` summed over its channels, with the size of the images."""
    values: Tensor = attributions[0] if isinstance(attributions, tuple) else attributions
    if values.dim() != 4:
        raise ModelError(f"The CAM layer's output must be (N,C,h,w), got attributions {tuple(values.shape)}.")
    return upsample(values.detach().sum(1, keepdim=True), (images.shape[2], images.shape[3]))


def _mean_colour_baselines(call: ExternalCall, parameters: Sequence[inspect.Parameter]) -> Tensor:
    """The mean colour as baselines ``(1,3,H,W)``; twice where the method demands a set of them."""
    demanded = any(parameter.name == "baselines" and parameter.default is parameter.empty for parameter in parameters)
    colour = call.model_pass.mean[None, :, None, None]
    return colour.expand(2 if demanded else 1, -1, *call.images.shape[2:])


def _batch_sizes(call: ExternalCall) -> dict[str, int]:
    """How many samples of its own a method may send at a time."""
    chunk = call.model_pass.chunk
    return {"internal_batch_size": chunk, "perturbations_per_eval": max(1, chunk // len(call.images))}


def _parameters(obj: Any, method: str | None = None) -> list[inspect.Parameter]:
    """The parameters of a function, or the named ones of a class's method, without ``self``; none if not known."""
    try:
        known = list(inspect.signature(getattr(obj, method) if method else obj).parameters.values())
    except (TypeError, ValueError, AttributeError):
        return []
    open_ended = {inspect.Parameter.VAR_POSITIONAL, *([inspect.Parameter.VAR_KEYWORD] if method else [])}
    return [parameter for parameter in known[1 if method else 0 :] if parameter.kind not in open_ended]


def _parameters_without_default(function: Callable[..., Any]) -> list[inspect.Parameter]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p for p in _parameters(function) if p.kind in positional and p.default is p.empty]


def _make_optional(parameter: inspect.Parameter, name: str) -> inspect.Parameter:
    """The parameter; with a default if it has this name."""
    return parameter.replace(default=None) if parameter.name == name else parameter


def _split_params(
    params: Mapping[str, Any], parameters: Sequence[inspect.Parameter]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of some parameters, and the rest."""
    names = {parameter.name for parameter in parameters}
    return _select(names, params), {name: value for name, value in params.items() if name not in names}


def _select(names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _lists_to_tuples(value: Any) -> Any:
    """Lists of YAML as the tuples that Captum asks for."""
    return tuple(map(_lists_to_tuples, value)) if isinstance(value, list) else value


def _inherits(cls: type, package: str, name: str) -> bool:
    return any(base.__module__.startswith(package) and base.__name__ == name for base in cls.__mro__)


def _label(obj: Any) -> str:
    return str(getattr(obj, "__name__", type(obj).__name__))


explainers.adapters.append(as_explainer_factory)
