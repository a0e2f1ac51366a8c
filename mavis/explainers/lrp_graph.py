"""A forward that is followed call by call, so that its backward shares relevance in place of gradients.

Every operation that has a rule becomes a node of the autograd graph with that rule as its backward; what only moves or
picks values keeps its own. The network is not touched: no hook, no copy, no changed module.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mavis.core.errors import ModelError
from mavis.core.types import Model
from mavis.explainers.lrp_rules import LinearLayer, LrpRules, RelevanceRule, pass_through

SELECTIONS = frozenset({"adaptive_max_pool2d", "chunk", "getitem", "max_pool2d", "narrow", "select", "split", "unbind"})
JOINS = frozenset({"cat", "concat", "expand", "expand_as", "pad", "repeat", "stack"})
PERMUTATIONS = frozenset({"flip", "movedim", "permute", "pixel_shuffle", "roll", "swapaxes", "transpose"})
RESHAPES = frozenset({"flatten", "reshape", "squeeze", "unflatten", "unsqueeze", "view"})
IDENTITIES = frozenset({"clone", "contiguous", "double", "dropout", "dropout2d", "float", "requires_grad", "to"})
REARRANGEMENTS = SELECTIONS | JOINS | PERMUTATIONS | RESHAPES | IDENTITIES
"""Each output value is one of the input's: autograd sends its relevance there."""

ACTIVATIONS = frozenset({"hardtanh", "leaky_relu", "relu", "relu6"})
"""One input per output, which is 0 at 0 and of the input's sign."""

SUMS = frozenset({"adaptive_avg_pool2d", "avg_pool2d", "mean", "sum"})
ARITHMETIC = frozenset({"add", "div", "mul", "rsub", "sub"})
CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})


@dataclass(frozen=True)
class _TorchCall:
    """A call of a function of torch that reads signals.

    Attributes:
        func: the function.
        args: as given.
        kwargs: as given.
        signals: the tensors among them that depend on the image, each once.
    """

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    signals: tuple[Tensor, ...]

    @property
    def name(self) -> str:
        """The function's name without underscores: ``add`` for ``add``, ``__add__`` and ``add_``."""
        return getattr(self.func, "__name__", "").strip("_")

    @property
    def is_in_place(self) -> bool:
        """True where the caller asks for its first argument to be overwritten; it never is."""
        name = getattr(self.func, "__name__", "")
        return bool(self.kwargs.get("inplace")) or (name.endswith("_") and not name.endswith("__"))

    def reads(self, value: Any) -> bool:
        """True where a value is one of the signals."""
        return any(value is signal for signal in self.signals)

    def apply_to(self, *values: Tensor) -> Any:
        """The function's result with other values in place of the signals."""
        replacement = {id(signal): value for signal, value in zip(self.signals, values, strict=True)}
        args = [replacement.get(id(arg), arg) for arg in self.args]
        return self.func(*args, **{name: replacement.get(id(arg), arg) for name, arg in self.kwargs.items()})

    def arguments_by_name(self, *names: str) -> dict[str, Any]:
        """The arguments by name."""
        return {**dict(zip(names, self.args, strict=False)), **self.kwargs}


class RelevanceTracer(TorchFunctionMode):
    """While open, every call of torch that reads a signal (what depends on the image) gets the backward of its rule."""

    def __init__(self, model: Model, rules: LrpRules, images: Tensor) -> None:
        super().__init__()
        self.model, self.rules = model, rules
        self.signals = {id(images): images}
        self.image_signals = {id(images)}  # signals that are the image itself, moved, scaled or shifted
        self.overwritten: list[Tensor] = []
        self.layers: dict[int, tuple[LinearLayer, Tensor]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        read = {id(tensor): tensor for tensor in _tensors((args, kwargs))}
        for tensor in read.values():
            self.check(tensor)
        signals = tuple(tensor for key, tensor in read.items() if key in self.signals)
        if not signals:
            return func(*args, **kwargs)
        call = _TorchCall(func, args, kwargs, signals)
        result = self._dispatch(call)
        if call.is_in_place and id(args[0]) in self.signals:
            self.overwritten.append(self.signals.pop(id(args[0])))
        self._register_signals(call, result)
        return result

    def check(self, tensor: Tensor) -> None:
        """Raises ModelError for a tensor that depends on the image in a way that was not followed."""
        if tensor.grad_fn is not None and id(tensor) not in self.signals:
            raise ModelError(
                f"LRP cannot follow '{self.model.name}': it changes a value in place and reads it again, or calls code "
                "that torch does not show, as scripted modules do. Leave out lrp for this model."
            )

    def _register_signals(self, call: _TorchCall, result: Any) -> None:
        outputs = {id(tensor): tensor for tensor in _tensors(result) if tensor.requires_grad}
        self.signals |= outputs
        if call.name in REARRANGEMENTS | ARITHMETIC and all(
            id(signal) in self.image_signals for signal in call.signals
        ):
            self.image_signals |= outputs.keys()

    def _dispatch(self, call: _TorchCall) -> Any:
        if call.name in CONVOLUTIONS or call.name == "linear":
            return self._apply_linear(call)
        if call.name == "batch_norm":
            return self._apply_batch_norm(call)
        if call.name in ACTIVATIONS:
            return _apply_with_rule(lambda signal: call.apply_to(signal.clone()), pass_through, *call.signals)
        if call.name in SUMS:
            return _apply_with_rule(call.apply_to, self.rules.proportional(call.apply_to), *call.signals)
        if call.name in ARITHMETIC:
            return self._apply_arithmetic(call)
        result = call.func(*call.args, **call.kwargs)
        if call.name not in REARRANGEMENTS and any(tensor.requires_grad for tensor in _tensors(result)):
            raise self._no_rule_error(call)
        return result

    def _apply_linear(self, call: _TorchCall) -> Tensor:
        arguments, extra = call.arguments_by_name("input", "weight", "bias"), call.args[3:]
        source, weight, bias = arguments.pop("input"), arguments.pop("weight"), arguments.pop("bias", None)
        if len(call.signals) > 1:
            raise self._no_rule_error(call)

        def layer_of(signal: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            out: Tensor = call.func(signal, weight, bias, *extra, **arguments)
            return out

        layer = LinearLayer(layer_of, weight, bias, is_dense=call.name == "linear")
        out = _apply_with_rule(layer, self.rules.for_layer(layer), source)
        self.layers[id(out)] = layer, source
        return out

    def _apply_batch_norm(self, call: _TorchCall) -> Tensor:
        """Batch normalisation, as part of the layer before it, or as a layer where there is none."""
        arguments = call.arguments_by_name("input", "mean", "var", "weight", "bias", "training", "momentum", "eps")
        if arguments.get("training"):
            raise self._no_rule_error(call)
        source, scale, shift = arguments["input"], *_batch_norm_scale_and_shift(arguments)
        if id(source) in self.image_signals:
            return self._apply_constant(call)
        with torch.no_grad():
            value = call.apply_to(*call.signals)
        layer = LinearLayer(_scale_and_shift, scale, shift, is_dense=False)
        rule = self.rules.for_batch_norm(call.apply_to, layer)
        if id(source) in self.layers:
            before, source = self.layers[id(source)]
            rule = self.rules.for_layer(before.fold_batch_norm(scale, shift))
        return _apply_with_rule(lambda _: value, rule, source)

    def _apply_arithmetic(self, call: _TorchCall) -> Tensor:
        """Sums of signals are shared in proportion; products of signals have no rule."""
        call = replace(call, func=getattr(torch, call.name))
        alone = sum(map(call.reads, [*call.args, *call.kwargs.values()])) < 2
        if call.name in ("mul", "div") and not (alone and call.reads(call.args[0])):
            raise self._no_rule_error(call)
        return (
            self._apply_constant(call)
            if alone
            else _apply_with_rule(call.apply_to, self.rules.proportional(call.apply_to), *call.signals)
        )

    def _apply_constant(self, call: _TorchCall) -> Tensor:
        """A signal and a constant; the image takes all, whatever units the network measures it in."""
        image = id(call.signals[0]) in self.image_signals
        return _apply_with_rule(
            call.apply_to, pass_through if image else self.rules.for_constant(call.apply_to), *call.signals
        )

    def _no_rule_error(self, call: _TorchCall) -> ModelError:
        plain = call.name.replace("_", "").removesuffix("forward")
        names = (n for n, module in self.model.net.named_modules() if type(module).__name__.lower() == plain)
        location = next((f" (module '{name}')" for name in names if name), "")
        return ModelError(f"LRP has no rule for {call.name}{location}; leave out lrp for '{self.model.name}'.")


def _apply_with_rule(operation: Callable[..., Tensor], rule: RelevanceRule, *signals: Tensor) -> Tensor:
    """The operation's result, whose relevance will go to the signals by a rule."""
    out: Tensor = _RuleFunction.apply(operation, rule, *signals)  # type: ignore[no-untyped-call] # torch's stubs
    return out


class _RuleFunction(torch.autograd.Function):
    """An operation whose backward is a rule."""

    @staticmethod
    def forward(ctx: Any, operation: Callable[..., Tensor], rule: RelevanceRule, *signals: Tensor) -> Tensor:
        ctx.share = rule
        ctx.save_for_backward(*signals)
        return operation(*signals)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> Any:
        return None, None, *ctx.share(relevance, *ctx.saved_tensors)


def _batch_norm_scale_and_shift(arguments: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch normalisation, one value per channel each."""
    mean, weight, bias = arguments["mean"], arguments.get("weight"), arguments.get("bias")
    scale = (arguments["var"] + arguments.get("eps", 1e-5)).rsqrt()
    scale = scale if weight is None else scale * weight
    return scale, (0 if bias is None else bias) - mean * scale


def _scale_and_shift(signal: Tensor, scale: Tensor, shift: Tensor | None) -> Tensor:
    shape = (-1, *[1] * (signal.dim() - 2))
    out = signal * scale.view(shape)
    return out if shift is None else out + shift.view(shape)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
