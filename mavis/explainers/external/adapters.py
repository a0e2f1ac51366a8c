"""Explainers of other libraries, unchanged, as factories of explainers.

`wrapped` looks at an object and says what it is: a Captum attribution, a CAM class of pytorch-grad-cam, a composite of
zennit, a function in the manner of Quantus, or any function of model, images and targets. The registry asks it about
every explainer, so that ``mavis register explainer NAME --factory captum.attr:Saliency`` is enough.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from mavis.core.attribution_maps import upsampled
from mavis.core.errors import MavisError, ModelError
from mavis.core.metric_types import Explainer
from mavis.core.registry import explainers
from mavis.explainers.external.isolation import Question, explainer_of

Factory = Callable[..., Explainer]

MODELS = frozenset({"classifier", "forward_func", "model", "net", "network"})
"""How a parameter is called that takes the network."""

OURS = frozenset({"additional_forward_args", "inputs", "return_convergence_delta", "target"})
"""Parameters of Captum's methods that are not the user's to set."""


def wrapped(found: Callable[..., Any]) -> Factory:
    """What a registration names, as a factory of explainers; one that is a factory already is returned as it is.

    Raises:
        MavisError: it takes a model, but cannot be called by what is known of it.
    """
    if isinstance(found, type):
        return _wrapped_class(found)
    needed = _required(found)
    if len(needed) < 2 or needed[0].name not in MODELS:
        return found
    if len(needed) != 3:
        raise MavisError(
            f"'{_label(found)}' takes ({', '.join(p.name for p in needed)}); an explainer that is a function takes "
            "(model, images, targets)."
        )
    return quantus(found) if _takes_arrays(found, needed[1]) else function(found)


def captum(attribution: type) -> Factory:
    """An explainer of a Captum ``Attribution``; its own parameters and those of ``attribute`` are the explainer's.

    Baselines are the data set's mean colour unless given. A method of a layer gets the CAM layer, and what it returns
    is summed over the channels and enlarged. Where it takes a batch size for its own samples, that is the run's.

    Raises:
        MavisError: it is made of another attribution, not of a model.
    """
    made, asked = _parameters(attribution, "__init__"), _parameters(attribution, "attribute")
    if not made or made[0].name not in MODELS:
        raise MavisError(
            f"Captum's {attribution.__name__} is not made of a model alone. Write a function (model, images, targets) "
            "that makes it and returns its attributions, and register that."
        )
    layered = any(parameter.name == "layer" for parameter in made)
    inner = _inherits(attribution, "captum.", "LayerAttribution")
    own = [parameter for parameter in made[1:] if parameter.name != "layer"]
    free = [_optional(parameter, "baselines") for parameter in asked if parameter.name not in OURS]
    takes = {parameter.name for parameter in asked}

    def call(question: Question, **params: Any) -> Any:
        given, rest = _divided({name: _tuples(value) for name, value in params.items()}, own)
        method = attribution(question.net, *([question.layer] if layered else []), **given)
        ours = {"target": question.targets, "baselines": _colour(question, asked), **_samples(question)}
        found = method.attribute(question.images.requires_grad_(), **_chosen(takes, ours) | rest)
        return _enlarged(found, question.images) if inner else found

    return _factory(attribution, call, [*own, *free])


def grad_cam(cam: type) -> Factory:
    """An explainer of a CAM class in the manner of pytorch-grad-cam: made of model and layers, called with targets.

    The map is what the class makes of it: pytorch-grad-cam cuts negative values and scales each map to [0,1].
    """
    made, asked = _parameters(cam, "__init__")[2:], _parameters(cam, "__call__")[2:]

    def call(question: Question, **params: Any) -> Any:
        own, rest = _divided(params, made)
        classes = [_Logit(target) for target in question.targets.tolist()]
        return cam(question.net, [question.layer], **own)(question.images.requires_grad_(), classes, **rest)

    return _factory(cam, call, [*made, *asked])


def zennit(composite: type) -> Factory:
    """An explainer of a zennit composite: relevance that starts with the target's logit.

    Batch normalisation is merged, and residual sums are shared in torchvision's ResNets; in other networks zennit lets
    each side of a sum have all of it.
    """
    made = [parameter for parameter in _parameters(composite, "__init__") if parameter.name != "canonizers"]

    def call(question: Question, **params: Any) -> Tensor:
        gradient = import_module("zennit.attribution").Gradient
        rules = composite(canonizers=[import_module("zennit.torchvision").ResNetCanonizer()], **params)

        def start(logits: Tensor) -> Tensor:
            return logits * nn.functional.one_hot(question.targets, logits.shape[1])

        with gradient(model=question.net, composite=rules) as attributor:
            found: Tensor = attributor(question.images.requires_grad_(), start)[1]
        return found

    return _factory(composite, call, made)


def quantus(explain: Callable[..., Any]) -> Factory:
    """An explainer of a function in the manner of Quantus: ``(model, inputs, targets, **kwargs)``, in arrays."""
    free = _parameters(explain)[3:]
    wants_device = any(p.name == "device" or p.kind is p.VAR_KEYWORD for p in free)

    def call(question: Question, **params: Any) -> Any:
        device = {"device": str(question.images.device)} if wants_device else {}
        arrays = (tensor.cpu().numpy() for tensor in (question.images, question.targets))
        return explain(question.net, *arrays, **device | params)

    return _factory(explain, call, [p for p in free if p.name != "device"])


def function(explain: Callable[..., Any]) -> Factory:
    """An explainer of a function ``(model, images, targets)`` in tensors; its other parameters are the explainer's."""

    def call(question: Question, **params: Any) -> Any:
        return explain(question.net, question.images, question.targets, **params)

    return _factory(explain, call, _parameters(explain)[3:])


def _wrapped_class(found: type) -> Factory:
    if _inherits(found, "captum.", "Attribution"):
        return captum(found)
    if _inherits(found, "zennit.", "Composite"):
        return zennit(found)
    made = [parameter.name for parameter in _parameters(found, "__init__")]
    if made[:2] == ["model", "target_layers"]:
        return grad_cam(found)
    if made and made[0] in MODELS:
        raise MavisError(
            f"'{_label(found)}' is made of a model, but is no class of Captum or zennit, nor made of "
            "(model, target_layers). Write a function (model, images, targets) that calls it, and register that."
        )
    return found


def _takes_arrays(explain: Callable[..., Any], images: inspect.Parameter) -> bool:
    """Whether a function wants arrays: by its annotation, or by Quantus's name ``inputs`` beside ``**kwargs``.

    Raises:
        MavisError: the name says Quantus and nothing else does.
    """
    kind = str(images.annotation)
    if "ndarray" in kind or "Tensor" in kind:
        return "ndarray" in kind
    if images.name != "inputs":
        return False
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in _parameters(explain)):
        return True
    raise MavisError(
        f"'{_label(explain)}' may want tensors or, as Quantus has it, arrays. Annotate 'inputs' as torch.Tensor or "
        "numpy.ndarray, or call it 'images' for tensors."
    )


class _Logit:
    """The target of a CAM: one class's logit."""

    def __init__(self, category: int) -> None:
        self.category = category

    def __call__(self, logits: Tensor) -> Tensor:
        return logits[..., self.category]


def _factory(found: Callable[..., Any], call: Callable[..., Any], free: Iterable[inspect.Parameter]) -> Factory:
    """A factory with the parameters, name and description of what it wraps."""
    keyword = [p if p.kind is p.VAR_KEYWORD else p.replace(kind=p.KEYWORD_ONLY) for p in free]
    if len({parameter.name for parameter in keyword}) < len(keyword):
        raise MavisError(f"'{_label(found)}' has two parameters of one name, where it is made and where it is called.")

    def factory(**params: Any) -> Explainer:
        return explainer_of(lambda question: call(question, **params), _label(found))

    factory.__doc__ = inspect.getdoc(found)
    factory.__name__ = factory.__qualname__ = _label(found)
    factory.__wrapped__ = found  # type: ignore[attr-defined]
    factory.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    return factory


def _enlarged(found: Any, images: Tensor) -> Tensor:
    """A layer's attributions ``(N,C,h,w)`` summed over its channels, with the size of the images."""
    values: Tensor = found[0] if isinstance(found, tuple) else found
    if values.dim() != 4:
        raise ModelError(f"The CAM layer's output must be (N,C,h,w), got attributions {tuple(values.shape)}.")
    return upsampled(values.detach().sum(1, keepdim=True), (images.shape[2], images.shape[3]))


def _colour(question: Question, asked: Sequence[inspect.Parameter]) -> Tensor:
    """The mean colour as baselines ``(1,3,H,W)``; twice where the method demands a set of them."""
    demanded = any(parameter.name == "baselines" and parameter.default is parameter.empty for parameter in asked)
    colour = question.run.mean[None, :, None, None]
    return colour.expand(2 if demanded else 1, -1, *question.images.shape[2:])


def _samples(question: Question) -> dict[str, int]:
    """How many samples of its own a method may send at a time."""
    chunk = question.run.chunk
    return {"internal_batch_size": chunk, "perturbations_per_eval": max(1, chunk // len(question.images))}


def _parameters(found: Any, method: str | None = None) -> list[inspect.Parameter]:
    """The parameters of a function, or the named ones of a class's method, without ``self``; none if not known."""
    try:
        known = list(inspect.signature(getattr(found, method) if method else found).parameters.values())
    except (TypeError, ValueError, AttributeError):
        return []
    open_ended = {inspect.Parameter.VAR_POSITIONAL, *([inspect.Parameter.VAR_KEYWORD] if method else [])}
    return [parameter for parameter in known[1 if method else 0 :] if parameter.kind not in open_ended]


def _required(found: Callable[..., Any]) -> list[inspect.Parameter]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p for p in _parameters(found) if p.kind in positional and p.default is p.empty]


def _optional(parameter: inspect.Parameter, name: str) -> inspect.Parameter:
    """The parameter; with a default if it has this name."""
    return parameter.replace(default=None) if parameter.name == name else parameter


def _divided(params: Mapping[str, Any], made: Sequence[inspect.Parameter]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of some parameters, and the rest."""
    names = {parameter.name for parameter in made}
    return _chosen(names, params), {name: value for name, value in params.items() if name not in names}


def _chosen(names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _tuples(value: Any) -> Any:
    """Lists of YAML as the tuples that Captum asks for."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _inherits(found: type, package: str, name: str) -> bool:
    return any(base.__module__.startswith(package) and base.__name__ == name for base in found.__mro__)


def _label(found: Any) -> str:
    return str(getattr(found, "__name__", type(found).__name__))


explainers.adapters.append(wrapped)
