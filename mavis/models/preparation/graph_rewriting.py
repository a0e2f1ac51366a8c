"""Changes to a network that keep its outputs and let explainers that hook modules see every activation.

Hooks see calls of modules. They miss an activation that is called as a function (``F.relu``), cannot tell the calls of
one module that is used several times apart, and read a tensor that a later step changes in place. All three are
rewritten with torch.fx: one module per call, nothing in place.

Why each ``forward`` is traced alone, with its children as leaves: tracing the whole network would flatten it, so that
names of layers (`cam_layer`), types and the state dict would change; and one module with data-dependent control flow
would prevent the rewriting of all others. A module that cannot be traced is left as it is and reported. A rewritten
network is compared with the original, because code that reads a tensor under two names, one of them changed in place,
computes something else once nothing is in place; such a rewriting is undone.
"""

import copy
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.overrides import TorchFunctionMode

FUNCTION_MODULES: dict[Any, Callable[..., nn.Module]] = {
    F.relu: nn.ReLU, torch.relu: nn.ReLU, torch.relu_: nn.ReLU, Tensor.relu: nn.ReLU, Tensor.relu_: nn.ReLU,
    F.relu6: nn.ReLU6, F.elu: nn.ELU, F.selu: nn.SELU, F.celu: nn.CELU, F.leaky_relu: nn.LeakyReLU, F.gelu: nn.GELU,
    F.silu: nn.SiLU, F.mish: nn.Mish, F.softplus: nn.Softplus, F.hardswish: nn.Hardswish, F.hardsigmoid: nn.Hardsigmoid,
    F.hardtanh: nn.Hardtanh, F.sigmoid: nn.Sigmoid, torch.sigmoid: nn.Sigmoid, Tensor.sigmoid: nn.Sigmoid,
    F.tanh: nn.Tanh, torch.tanh: nn.Tanh, Tensor.tanh: nn.Tanh, F.max_pool2d: nn.MaxPool2d,
}  # fmt: skip
"""Functions and methods of tensors, and the modules that replace them."""

IN_PLACE_METHODS: dict[Any, str] = {
    Tensor.__iadd__: "add", Tensor.__isub__: "sub", Tensor.__imul__: "mul", Tensor.__itruediv__: "div",
    Tensor.add_: "add", Tensor.sub_: "sub", Tensor.mul_: "mul", Tensor.div_: "div",
    Tensor.clamp_: "clamp", Tensor.clamp_min_: "clamp_min",
}  # fmt: skip
"""Methods that work in place, and the methods that do the same to a copy."""

IN_PLACE_OPERATORS = {operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul,
             operator.itruediv: operator.truediv}  # fmt: skip
DROPOUT_FUNCTIONS = {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}
PROBABILITY_FUNCTIONS = {F.softmax, torch.softmax, Tensor.softmax, F.log_softmax, torch.log_softmax, Tensor.log_softmax,
                 F.sigmoid, torch.sigmoid, Tensor.sigmoid}  # fmt: skip
PROBABILITY_MODULES = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)
METHOD_MODULES = {"relu": nn.ReLU, "relu_": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}

SHARED_NOTE = "shared activations given a module for each place"
IN_PLACE_NOTE = "steps in place made ordinary"
Undo = Callable[[], None]
Rewrite = tuple[Undo, list[str] | None]
"""A function that takes the change back, and notes on it; None where the module cannot be traced."""


@dataclass
class ActivationCall:
    """One call of an activation, a function of interest, or a softmax or sigmoid.

    Attributes:
        caller: name of the module whose ``forward`` makes the call.
        callee: the function, or the name of the module that was called.
    """

    caller: str
    callee: Any


@dataclass
class CallRecorder(TorchFunctionMode):
    """Recorder of the activations that one forward calls, in order.

    Attributes:
        net: the network; its modules are hooked while `record` runs.
        call_counts: number of calls of each module.
        calls: see `ActivationCall`.
    """

    net: nn.Module
    call_counts: Counter[str] = field(default_factory=Counter)
    calls: list[ActivationCall] = field(default_factory=list)
    _call_stack: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._modules = {name: module for name, module in self.net.named_modules() if not is_scripted(module)}

    def record(self, images: Tensor) -> "CallRecorder":
        """Sends images through the network and records its calls."""
        with torch.no_grad(), self._hooks(), self:
            self.net(images)
        return self

    def __torch_function__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._call_stack and not is_torch_module(self._modules[self._call_stack[-1]]) and _is_relevant(func, kwargs):
            self.calls.append(ActivationCall(self._call_stack[-1], func))
        return func(*args, **kwargs)

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        handles = []
        for name, module in self._modules.items():
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: self._enter(name)))
            handles.append(module.register_forward_hook(lambda *_: self._leave(), always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str) -> None:
        self.call_counts[name] += 1
        if self._call_stack and (
            is_activation(self._modules[name]) or isinstance(self._modules[name], PROBABILITY_MODULES)
        ):
            self.calls.append(ActivationCall(self._call_stack[-1], name))
        self._call_stack.append(name)

    def _leave(self) -> None:
        self._call_stack.pop()


def _is_relevant(func: Any, kwargs: Any) -> bool:
    """True for a function that may be rewritten; dropout only where it is on in evaluation mode."""
    if func in DROPOUT_FUNCTIONS:
        return bool(kwargs.get("training", True))
    return func in FUNCTION_MODULES or func in IN_PLACE_METHODS or func in PROBABILITY_FUNCTIONS


def is_torch_module(module: nn.Module) -> bool:
    """True for one of torch's own modules, whose ``forward`` is left alone."""
    return type(module).__module__.startswith("torch.nn.")


def is_activation(module: nn.Module) -> bool:
    """True for one of torch's activations or poolings without parameters."""
    is_listed = type(module).__module__ in ("torch.nn.modules.activation", "torch.nn.modules.pooling")
    return is_listed and next(module.parameters(), None) is None


def disable_in_place(net: nn.Module) -> list[str]:
    """Switches modules that work in place to work on a copy; returns a note where there were any."""
    in_place = [module for module in net.modules() if getattr(module, "inplace", False) and not is_scripted(module)]
    for module in in_place:
        module.inplace = False  # type: ignore[assignment]
    return [f"{len(in_place)} in-place activations made ordinary"] if in_place else []


def is_scripted(module: nn.Module) -> bool:
    """True for a scripted module, which takes no hooks."""
    return isinstance(module, torch.jit.ScriptModule)


def separate_activations(net: nn.Module, images: Tensor, is_unchanged: Callable[[], bool]) -> list[str]:
    """One module per call: shared activations get copies, functions become modules, nothing works in place.

    Args:
        net: is changed.
        images: ``(N,3,H,W)`` to record its calls on.
        is_unchanged: true while the outputs are those of before; a change of an output is undone.

    Returns:
        A note on each kind of change, and on modules that could not be rewritten.
    """
    n_copies = _copy_shared_activations(net)
    recorder = CallRecorder(net).record(images)
    callers = _callers_to_rewrite(recorder)
    # A module that is called twice has two calls behind each of its activations; one module each cannot separate them.
    rewrites = {
        name: _rewrite_forward(net.get_submodule(name), _separate_calls)
        for name in callers
        if recorder.call_counts[name] == 1
    }
    if rewrites and not _succeeds(is_unchanged):
        for undo, _ in rewrites.values():
            undo()
        rewrites = {name: _rewrite_if_unchanged(net, name, is_unchanged) for name in rewrites}
    note_counts = Counter({SHARED_NOTE: n_copies})
    note_counts.update(note for _, notes in rewrites.values() for note in notes or ())
    skipped = [name for name in callers if name not in rewrites or rewrites[name][1] is None]
    note_counts[IN_PLACE_NOTE] += sum(
        call.caller in rewrites and call.caller not in skipped and call.callee in IN_PLACE_METHODS
        for call in recorder.calls
    )
    notes = [f"{count} {note}" for note, count in note_counts.items() if count]
    if skipped:
        notes.append(
            f"hooks do not see every activation of {_join_names(skipped)}: called more than once, or not traceable"
        )
    return notes


def _copy_shared_activations(net: nn.Module) -> int:
    """Gives the second and each further name of an activation a copy of its own; returns the number of copies."""
    seen: set[int] = set()
    n_copies = 0
    for name, module in list(net.named_modules(remove_duplicate=False)):
        if id(module) in seen and is_activation(module):
            net.set_submodule(name, copy.deepcopy(module))
            n_copies += 1
        seen.add(id(module))
    return n_copies


def _callers_to_rewrite(recorder: CallRecorder) -> list[str]:
    """Names of the modules whose ``forward`` is to be changed, in the order of their calls."""
    callers = []
    for call in recorder.calls:
        if isinstance(call.callee, str):
            is_activation_call = is_activation(recorder.net.get_submodule(call.callee))
            needs_rewriting = is_activation_call and recorder.call_counts[call.callee] > 1
        else:
            needs_rewriting = any(
                call.callee in functions for functions in (FUNCTION_MODULES, IN_PLACE_METHODS, DROPOUT_FUNCTIONS)
            )
        if needs_rewriting:
            callers.append(call.caller)
    return list(dict.fromkeys(callers))


def _rewrite_if_unchanged(net: nn.Module, name: str, is_unchanged: Callable[[], bool]) -> Rewrite:
    """Rewrites one module, unless that changes an output."""
    undo, notes = _rewrite_forward(net.get_submodule(name), _separate_calls)
    if notes is not None and not _succeeds(is_unchanged):
        undo()
        return undo, None
    return undo, notes


def _succeeds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except Exception:  # the rewritten network does not run: the caller undoes the change
        return False


def _join_names(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(name or "the network itself" for name in names[:3]) + more


class _ShallowTracer(fx.Tracer):
    """Traces one ``forward``; the children are leaves."""

    def is_leaf_module(self, _: nn.Module, __: str) -> bool:
        return True


GraphEdit = Callable[[fx.Graph, nn.Module], list[str]]


def _rewrite_forward(module: nn.Module, edit: GraphEdit) -> Rewrite:
    """Gives a module a traced and edited ``forward``.

    The module gets a subclass of its class with the new ``forward``, so that its type, its other methods and its state
    dict stay; a `torch.fx.GraphModule` in its place would lose them.
    """
    original_class, children = type(module), set(module._modules)

    def undo() -> None:
        module.__class__ = original_class
        for name in set(module._modules) - children:
            del module._modules[name]

    try:
        graph = _trace_forward(module)
        notes = edit(graph, module)
        graph.lint()
        forward = type(fx.GraphModule(module, graph)).forward
    except Exception:  # tracing runs user code on proxies, which may raise anything
        undo()
        return undo, None
    namespace = {"forward": forward, "__module__": original_class.__module__}
    module.__class__ = type(original_class.__name__, (original_class,), namespace)
    return undo, notes


def _trace_forward(module: nn.Module) -> fx.Graph:
    """The graph of a module's ``forward``.

    Tracing runs the code on proxies, so attributes that it sets would hold proxies afterwards; they are restored.
    Tensors that it creates are constants of the graph, which finds them as attributes; they stay, as buffers.
    """
    attributes = dict(vars(module))
    try:
        return _ShallowTracer().trace(module)
    finally:
        for name, value in list(vars(module).items()):
            if name not in attributes:
                delattr(module, name)
                if isinstance(value, Tensor):
                    module.register_buffer(name, value, persistent=False)
            elif value is not attributes[name]:
                setattr(module, name, attributes[name])


def _separate_calls(graph: fx.Graph, owner: nn.Module) -> list[str]:
    """Changes every node that hooks would miss or could not tell from another."""
    seen: set[Any] = set()
    notes = []
    for node in list(graph.nodes):
        if node.op == "call_module":
            notes += _copy_repeated_module(node, owner, seen)
        elif node.op == "call_function":
            notes += _edit_function_call(graph, node, owner)
        elif node.op == "call_method":
            notes += _edit_method_call(graph, node, owner)
    return notes


def _copy_repeated_module(node: fx.Node, owner: nn.Module, seen: set[Any]) -> list[str]:
    """Redirects the second and each further call of an activation to a copy."""
    module, is_repeated = owner.get_submodule(str(node.target)), node.target in seen
    seen.add(node.target)
    if not is_repeated or not is_activation(module):
        return []
    node.target = _add_child(owner, str(node.target).replace(".", "_"), copy.deepcopy(module))
    return [SHARED_NOTE]


def _edit_function_call(graph: fx.Graph, node: fx.Node, owner: nn.Module) -> list[str]:
    if node.target in FUNCTION_MODULES:
        return _replace_with_module(graph, node, owner, FUNCTION_MODULES[node.target])
    if node.target in DROPOUT_FUNCTIONS and node.kwargs.get("training", True):
        node.kwargs = {**node.kwargs, "training": False}
        return ["dropouts that were always on turned off"]
    if node.target in IN_PLACE_OPERATORS:
        node.target = IN_PLACE_OPERATORS[node.target]
    return []


def _edit_method_call(graph: fx.Graph, node: fx.Node, owner: nn.Module) -> list[str]:
    name = str(node.target)
    if name in METHOD_MODULES:
        return _replace_with_module(graph, node, owner, METHOD_MODULES[name])
    if name.endswith("_") and name[:-1] in IN_PLACE_METHODS.values():
        node.target = name[:-1]
    return []


def _replace_with_module(
    graph: fx.Graph, node: fx.Node, owner: nn.Module, module_class: Callable[..., nn.Module]
) -> list[str]:
    """Replaces a call by that of a module with the same settings, unless these are computed during the forward."""
    if not node.args or any(isinstance(value, fx.Node) for value in (*node.args[1:], *node.kwargs.values())):
        return []
    module = module_class(*node.args[1:], **node.kwargs)
    disable_in_place(module)
    name = _add_child(owner, type(module).__name__.lower(), module.eval())
    with graph.inserting_after(node):
        call = graph.call_module(name, (node.args[0],))
    node.replace_all_uses_with(call)
    graph.erase_node(node)
    return ["functional activations made modules"]


def _add_child(owner: nn.Module, name: str, module: nn.Module) -> str:
    """Adds a child under a free name; returns the name."""
    number = next(n for n in range(1, 10**6) if not hasattr(owner, f"{name}_{n}"))
    owner.add_module(f"{name}_{number}", module)
    return f"{name}_{number}"


def remove_final_probabilities(net: nn.Module, images: Tensor, is_correct: Callable[[], bool]) -> bool:
    """Removes the last softmax, log-softmax or sigmoid of a forward; returns True where that was possible.

    Args:
        net: is changed.
        images: ``(N,3,H,W)`` to record its calls on.
        is_correct: true where the outputs without it are the logits; otherwise it stays.
    """
    recorder = CallRecorder(net).record(images)
    candidates = [call for call in recorder.calls if _is_probability_callee(call.callee, net)]
    if not candidates:
        return False
    last = candidates[-1]
    if isinstance(last.callee, str):
        undo, is_removed = _bypass_module(net, last.callee), True
    else:
        undo, is_removed = _bypass_last_function(net.get_submodule(last.caller))
    if is_removed and _succeeds(is_correct):
        return True
    undo()
    return False


def _is_probability_callee(callee: Any, net: nn.Module) -> bool:
    return (
        isinstance(net.get_submodule(callee), PROBABILITY_MODULES)
        if isinstance(callee, str)
        else callee in PROBABILITY_FUNCTIONS
    )


def _bypass_module(net: nn.Module, name: str) -> Undo:
    """Replaces a module by the identity."""
    original = net.get_submodule(name)
    net.set_submodule(name, nn.Identity())
    return lambda: net.set_submodule(name, original)


def _bypass_last_function(caller: nn.Module) -> tuple[Undo, bool]:
    """Leaves the last softmax or sigmoid out of a module's ``forward``; False where that cannot be traced."""

    def edit(graph: fx.Graph, _: nn.Module) -> list[str]:
        node = [node for node in graph.nodes if _is_probability_node(node)][-1]
        node.replace_all_uses_with(node.args[0])
        graph.erase_node(node)
        return ["cut"]

    undo, notes = _rewrite_forward(caller, edit)
    return undo, notes is not None


def _is_probability_node(node: fx.Node) -> bool:
    methods = {"softmax", "log_softmax", "sigmoid"}
    return (
        node.target in PROBABILITY_FUNCTIONS
        if node.op == "call_function"
        else node.op == "call_method" and node.target in methods
    )
