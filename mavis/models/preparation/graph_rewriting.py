"""Changes to a network that keep its answers, so that explainers which hook modules see everything there is to see.

What hooks cannot tell apart is put right: one module that is called at several places, activations that are functions
and no modules, work in place. A module's ``forward`` is traced alone, with its children as they are, so that names,
structure and types stay; what cannot be traced is left as it is, and said.
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
"""Functions and methods that become modules."""

IN_PLACE_METHODS: dict[Any, str] = {
    Tensor.__iadd__: "add", Tensor.__isub__: "sub", Tensor.__imul__: "mul", Tensor.__itruediv__: "div",
    Tensor.add_: "add", Tensor.sub_: "sub", Tensor.mul_: "mul", Tensor.div_: "div",
    Tensor.clamp_: "clamp", Tensor.clamp_min_: "clamp_min",
}  # fmt: skip
"""Work in place, and the method that does the same to a copy."""

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
"""What takes a change back, and what was done; None where the module cannot be traced."""


@dataclass
class ActivationCall:
    """One call of an activation, a function of interest, or what turns logits into probabilities.

    Attributes:
        caller: name of the module in whose ``forward`` it stands.
        callee: the function, or the name of the module that was called.
    """

    caller: str
    callee: Any


@dataclass
class CallRecorder(TorchFunctionMode):
    """What one forward does, in order.

    Attributes:
        net: is watched while the context is open.
        call_counts: per module how often it was called.
        call_counts: see `ActivationCall`.
    """

    net: nn.Module
    call_counts: Counter[str] = field(default_factory=Counter)
    calls: list[ActivationCall] = field(default_factory=list)
    _call_stack: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._modules = {name: module for name, module in self.net.named_modules() if not is_scripted(module)}

    def record(self, images: Tensor) -> "CallRecorder":
        """Sends images through the network and watches."""
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
    """Whether a function is of interest; dropout is where it is always on."""
    if func in DROPOUT_FUNCTIONS:
        return bool(kwargs.get("training", True))
    return func in FUNCTION_MODULES or func in IN_PLACE_METHODS or func in PROBABILITY_FUNCTIONS


def is_torch_module(module: nn.Module) -> bool:
    """Whether it is one of torch's own modules, whose ``forward`` is left alone."""
    return type(module).__module__.startswith("torch.nn.")


def is_activation(module: nn.Module) -> bool:
    """Whether it is one of torch's activations or poolings, without parameters."""
    ours = type(module).__module__ in ("torch.nn.modules.activation", "torch.nn.modules.pooling")
    return ours and next(module.parameters(), None) is None


def disable_in_place(net: nn.Module) -> list[str]:
    """Makes modules that work in place work on a copy."""
    changed = [module for module in net.modules() if getattr(module, "inplace", False) and not is_scripted(module)]
    for module in changed:
        module.inplace = False  # type: ignore[assignment]
    return [f"{len(changed)} in-place activations made ordinary"] if changed else []


def is_scripted(module: nn.Module) -> bool:
    """Whether it is scripted; such modules take no hooks."""
    return isinstance(module, torch.jit.ScriptModule)


def separate_activations(net: nn.Module, images: Tensor, is_unchanged: Callable[[], bool]) -> list[str]:
    """One module per call: shared activations get copies, functions become modules, nothing works in place.

    Args:
        net: is changed.
        images: ``(N,3,H,W)`` to watch it on.
        is_unchanged: whether it still answers as before; what changes an answer is undone.

    Returns:
        What was done, and what could not be.
    """
    copied = _copy_shared_activations(net)
    watch = CallRecorder(net).record(images)
    wanted = _callers_to_rewrite(watch)
    tried = {
        name: _rewrite_forward(net.get_submodule(name), _separate_calls)
        for name in wanted
        if watch.call_counts[name] == 1
    }
    if tried and not _succeeds(is_unchanged):
        for undo, _ in tried.values():
            undo()
        tried = {name: _rewrite_if_unchanged(net, name, is_unchanged) for name in tried}
    done = Counter({SHARED_NOTE: copied})
    done.update(word for _, words in tried.values() for word in words or ())
    left = [name or "the network itself" for name in wanted if name not in tried or tried[name][1] is None]
    done[IN_PLACE_NOTE] += sum(
        use.caller in tried and use.caller not in left and use.callee in IN_PLACE_METHODS for use in watch.calls
    )
    told = [f"{count} {word}" for word, count in done.items() if count]
    if left:
        told.append(
            f"hooks do not see every activation of {_join_names(left)}: called more than once, or not traceable"
        )
    return told


def _copy_shared_activations(net: nn.Module) -> int:
    """Gives every further name of an activation a module of its own; how many were made."""
    known: set[int] = set()
    made = 0
    for name, module in list(net.named_modules(remove_duplicate=False)):
        if id(module) in known and is_activation(module):
            net.set_submodule(name, copy.deepcopy(module))
            made += 1
        known.add(id(module))
    return made


def _callers_to_rewrite(recorder: CallRecorder) -> list[str]:
    """The modules in whose ``forward`` something is to be changed: by name, in the order of their calls."""
    found = []
    for use in recorder.calls:
        named = isinstance(use.callee, str)
        shared = (
            named and recorder.call_counts[use.callee] > 1 and is_activation(recorder.net.get_submodule(use.callee))
        )
        function = not named and (
            use.callee in FUNCTION_MODULES or use.callee in IN_PLACE_METHODS or use.callee in DROPOUT_FUNCTIONS
        )
        if shared or function:
            found.append(use.caller)
    return list(dict.fromkeys(found))


def _rewrite_if_unchanged(net: nn.Module, name: str, is_unchanged: Callable[[], bool]) -> Rewrite:
    """One module rewritten, unless that changes an answer."""
    undo, words = _rewrite_forward(net.get_submodule(name), _separate_calls)
    if words is not None and not _succeeds(is_unchanged):
        undo()
        return undo, None
    return undo, words


def _succeeds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except Exception:  # what was rewritten does not run: it is undone
        return False


def _join_names(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


class _ShallowTracer(fx.Tracer):
    """Traces one ``forward`` and no child's."""

    def is_leaf_module(self, _: nn.Module, __: str) -> bool:
        return True


GraphEdit = Callable[[fx.Graph, nn.Module], list[str]]


def _rewrite_forward(module: nn.Module, edit: GraphEdit) -> Rewrite:
    """Gives a module a ``forward`` that was traced and edited, by a subclass of its own."""
    before, children = type(module), set(module._modules)

    def undo() -> None:
        module.__class__ = before
        for name in set(module._modules) - children:
            del module._modules[name]

    try:
        graph = _trace_forward(module)
        done = edit(graph, module)
        graph.lint()
        forward = type(fx.GraphModule(module, graph)).forward
    except Exception:  # tracing runs a stranger's code with stand-ins and may raise anything
        undo()
        return undo, None
    module.__class__ = type(before.__name__, (before,), {"forward": forward, "__module__": before.__module__})
    return undo, done


def _trace_forward(module: nn.Module) -> fx.Graph:
    """What its ``forward`` does; attributes that it sets on the way are put back, constants that it makes are kept."""
    before = dict(vars(module))
    try:
        return _ShallowTracer().trace(module)
    finally:
        for name, value in list(vars(module).items()):
            if name not in before:
                delattr(module, name)
                if isinstance(value, Tensor):
                    module.register_buffer(name, value, persistent=False)
            elif value is not before[name]:
                setattr(module, name, before[name])


def _separate_calls(graph: fx.Graph, owner: nn.Module) -> list[str]:
    """Changes every node that hooks would not see, or not tell from another."""
    seen: set[Any] = set()
    done = []
    for node in list(graph.nodes):
        if node.op == "call_module":
            done += _copy_repeated_module(node, owner, seen)
        elif node.op == "call_function":
            done += _edit_function_call(graph, node, owner)
        elif node.op == "call_method":
            done += _edit_method_call(graph, node, owner)
    return done


def _copy_repeated_module(node: fx.Node, owner: nn.Module, seen: set[Any]) -> list[str]:
    """A further call of an activation goes to a copy."""
    module, again = owner.get_submodule(str(node.target)), node.target in seen
    seen.add(node.target)
    if not again or not is_activation(module):
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
    """Replaces a call by that of a module with the same settings, unless they are only known when it runs."""
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
    """Puts a child under a free name."""
    number = next(n for n in range(1, 10**6) if not hasattr(owner, f"{name}_{n}"))
    owner.add_module(f"{name}_{number}", module)
    return f"{name}_{number}"


def remove_final_probabilities(net: nn.Module, images: Tensor, is_correct: Callable[[], bool]) -> bool:
    """Takes away the last softmax, log-softmax or sigmoid, wherever it stands; whether that could be done.

    Args:
        net: is changed.
        images: ``(N,3,H,W)`` to watch it on.
        is_correct: whether the answers without it are the right ones; if not, it stays.
    """
    watch = CallRecorder(net).record(images)
    ends = [use for use in watch.calls if _is_probability_callee(use.callee, net)]
    if not ends:
        return False
    last = ends[-1]
    undo = (
        _bypass_module(net, last.callee)
        if isinstance(last.callee, str)
        else _bypass_last_function(net.get_submodule(last.caller))
    )
    if _succeeds(is_correct):
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
    """A module that does nothing in its place."""
    before = net.get_submodule(name)
    net.set_submodule(name, nn.Identity())
    return lambda: net.set_submodule(name, before)


def _bypass_last_function(caller: nn.Module) -> Undo:
    """The last of the functions in a module's ``forward`` left out."""

    def edit(graph: fx.Graph, _: nn.Module) -> list[str]:
        node = [node for node in graph.nodes if _is_probability_node(node)][-1]
        node.replace_all_uses_with(node.args[0])
        graph.erase_node(node)
        return ["cut"]

    return _rewrite_forward(caller, edit)[0]


def _is_probability_node(node: fx.Node) -> bool:
    methods = {"softmax", "log_softmax", "sigmoid"}
    return (
        node.target in PROBABILITY_FUNCTIONS
        if node.op == "call_function"
        else node.op == "call_method" and node.target in methods
    )
