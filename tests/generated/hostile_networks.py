"""Networks that keep, write into, hide or depend on what they should not, each around a well-behaved one.

A habit takes a network and returns one with the same answers in evaluation mode, but for those of `CHANGING`, whose
answers depend on more than the image. An end says what is returned instead of logits.
"""

import functools
import threading
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mavis.models.preparation.probe_images import varied_images


class Core(nn.Module):
    """A small well-behaved network, whose logits have mean 0 and deviation 1.5 on varied images.

    Args:
        seed: of its weights.
        n_classes: its logits.
        activation: a function, used twice.
        has_norm: true for batch normalisation with statistics unlike 0 and 1.
    """

    def __init__(self, seed: int, n_classes: int, activation: Callable[[Tensor], Tensor], has_norm: bool) -> None:
        super().__init__()
        self.activation = activation
        self.first, self.second = nn.Conv2d(3, 6, 3, stride=2), nn.Conv2d(6, 6, 3)
        self.norm = nn.BatchNorm2d(6) if has_norm else nn.Identity()
        self.head = nn.Linear(6, n_classes)
        stream = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=stream) / 2)
            for name, buffer in self.named_buffers():
                if name.endswith(("mean", "var")):
                    buffer.copy_(torch.rand(buffer.shape, generator=stream) + 0.5)
            self.eval()
            deviation, mean = torch.std_mean(self(varied_images(32)), 0)
            self.head.weight.div_(deviation[:, None]).mul_(1.5)
            self.head.bias.sub_(mean).div_(deviation).mul_(1.5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.activation(self.first(images)))
        return self.head(self.activation(self.second(x)).mean((2, 3)))


ACTIVATIONS: Mapping[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "module": nn.ReLU,
    "in_place": lambda: nn.ReLU(inplace=True),
    "function": lambda: F.relu,
    "in_place_method": lambda: Tensor.relu_,
    "clamp": lambda: functools.partial(torch.clamp, min=0),
    "smooth": nn.SiLU,
}


class Around(nn.Module):
    """A network around another one."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


class NormalisesInPlace(Around):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images.mul_(2).sub_(1) / 2 + 0.5)


class OverwritesImages(Around):
    def forward(self, images: Tensor) -> Tensor:
        logits = self.net(images.clone())
        with torch.no_grad():
            images.detach().zero_()
        return logits


class ReusesBuffer(Around):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.buffer: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        logits = self.net(images)
        if self.buffer is None:
            self.buffer = torch.zeros(64, logits.shape[1])
        self.buffer.detach_()[: len(logits)] = logits
        return self.buffer[: len(logits)]


class SpoilsEarlierAnswers(Around):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.kept: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        for tensor in self.kept:
            tensor.detach().zero_()
        logits = self.net(images) + 0
        self.kept = [images, logits]
        return logits


class HiddenInList(Around):
    def __init__(self, net: nn.Module) -> None:
        nn.Module.__init__(self)
        self.members = [nn.Dropout(0.5), net]

    def forward(self, images: Tensor) -> Tensor:
        for member in self.members:
            images = member(images)
        return images


class HiddenInNamespace(Around):
    def __init__(self, net: nn.Module) -> None:
        nn.Module.__init__(self)
        self.parts = types.SimpleNamespace(deep={"nets": (net, nn.Dropout(0.5))})

    def forward(self, images: Tensor) -> Tensor:
        net, dropout = self.parts.deep["nets"]
        return dropout(net(images))


class HiddenInPartial(Around):
    def __init__(self, net: nn.Module) -> None:
        nn.Module.__init__(self)
        self.call = functools.partial(lambda scale, images: scale * net(images) / 2, torch.tensor(2.0))

    def forward(self, images: Tensor) -> Tensor:
        return self.call(images)


class ScaledByAttribute(Around):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.scales = {"weights": [torch.tensor(0.5)]}

    def forward(self, images: Tensor) -> Tensor:
        return 2 * self.net(images) * self.scales["weights"][0]


class TrainsByDefault(Around):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(nn.Sequential(nn.Dropout2d(0.5), net, nn.Dropout(0.5)))
        self.train()


class IgnoresEval(Around):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(nn.Sequential(net, nn.Dropout(0.5)))

    def train(self, mode: bool = True) -> "IgnoresEval":
        return super().train(True)


class HoldsLock(Around):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.lock = threading.Lock()

    def forward(self, images: Tensor) -> Tensor:
        with self.lock:
            return self.net(images)


class CannotBeCopied(Around):
    def __deepcopy__(self, memo: dict[int, Any]) -> "CannotBeCopied":
        raise TypeError("no copies")


class LooksEmpty(Around):
    def __len__(self) -> int:
        return 0


class EqualsAnything(Around):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class KeepsFeatures(Around):
    """Keeps activations with their graph, which cannot be copied."""

    def forward(self, images: Tensor) -> Tensor:
        self.logits = self.net(images.requires_grad_() if images.is_leaf else images)
        return self.logits


class ViewsImages(Around):
    """Needs images in one block of memory."""

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images.view(len(images), -1).view(images.shape))


class AsksNumpy(Around):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(torch.from_numpy(images.detach().numpy().copy()))


class SqueezesOne(Around):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).squeeze(0)


class TakesFewOnly(Around):
    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 3:
            raise ValueError("at most three images, please\nreally")
        return self.net(images)


class NoGradient(Around):
    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


class Inference(Around):
    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


class LeavesGradOff(Around):
    def forward(self, images: Tensor) -> Tensor:
        logits = self.net(images)
        torch.set_grad_enabled(False)
        return logits


class LeavesDoubleDefault(Around):
    def forward(self, images: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        return self.net(images)


class Seeds(Around):
    def forward(self, images: Tensor) -> Tensor:
        torch.manual_seed(0)
        return self.net(images)


class Warns(Around):
    def forward(self, images: Tensor) -> Tensor:
        warnings.warn("[/bold] deprecated \udcff", stacklevel=1)
        return self.net(images)


class Subclass(Tensor):
    """A tensor of a class of its own."""


class ReturnsSubclass(Around):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).as_subclass(Subclass)


class ReturnsDouble(Around):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).double()


class ReturnsTransposedView(Around):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).t().contiguous().t()


class ReturnsTuple(Around):
    def forward(self, images: Tensor) -> Any:
        return self.net(images), images


class ReturnsMapping(Around):
    def forward(self, images: Tensor) -> Any:
        return {"logits": self.net(images)}


class ReturnsList(Around):
    def forward(self, images: Tensor) -> Any:
        return self.net(images).tolist()


class WithHook(Around):
    """Adds its last part in a hook, and has a hook that writes into what it sees."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.register_forward_pre_hook(lambda _, args: (args[0] * 2,))
        self.net.register_forward_pre_hook(lambda _, args: (args[0] / 2,))


class NeedsTracking(Around):
    """Chooses its path by a value, which cannot be traced."""

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images) if images.mean() < 1e6 else images.mean((2, 3))


class DropsOutAlways(Around):
    def forward(self, images: Tensor) -> Tensor:
        return F.dropout(self.net(images), 0.5)


class RaisesLater(Around):
    """Runs out of luck at the seventh call."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 7:
            raise KeyError("[red]\nseventh")
        return self.net(images)


def with_weight_norm(net: nn.Module) -> nn.Module:
    """The old weight normalisation, whose weights are no leaves, on every linear layer."""
    for module in net.modules():
        if type(module) is nn.Linear and "weight" in dict(module.named_parameters()):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                nn.utils.weight_norm(module)
    return net


def with_parametrised_norm(net: nn.Module) -> nn.Module:
    for module in net.modules():
        if type(module) is nn.Linear and "weight" in dict(module.named_parameters()):
            nn.utils.parametrizations.weight_norm(module)
    return net


def with_shared_layer(net: nn.Module) -> nn.Module:
    around = Around(net)
    around.again = net  # type: ignore[assignment]
    return around


HABITS: tuple[Callable[[nn.Module], nn.Module], ...] = (
    *(NormalisesInPlace, OverwritesImages, ReusesBuffer, SpoilsEarlierAnswers, HiddenInList, HiddenInNamespace),
    *(HiddenInPartial, ScaledByAttribute, TrainsByDefault, IgnoresEval, HoldsLock, CannotBeCopied, LooksEmpty),
    *(EqualsAnything, KeepsFeatures, ViewsImages, AsksNumpy, SqueezesOne, TakesFewOnly, NoGradient, Inference),
    *(LeavesGradOff, LeavesDoubleDefault, Seeds, Warns, ReturnsSubclass, ReturnsDouble, ReturnsTransposedView),
    *(ReturnsTuple, ReturnsMapping, ReturnsList, WithHook, NeedsTracking, DropsOutAlways, RaisesLater),
    *(with_weight_norm, with_parametrised_norm, with_shared_layer),
)
"""Each leaves the answers as they are, or must be refused in a line."""

REFUSED = frozenset({TakesFewOnly, ReturnsTuple, ReturnsMapping, ReturnsList, RaisesLater})
"""Those among them that are refused where they are the only one; the others are answered as the twin is."""


class SubtractsBatchMean(Around):
    def forward(self, images: Tensor) -> Tensor:
        logits = self.net(images)
        return logits - logits.mean(0)


class ScalesByBatchMaximum(Around):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images / images.amax((0, 2, 3), keepdim=True) * torch.linspace(1, 2, len(images))[0]) * len(
            images
        )


class NormalisesOverBatch(Around):
    def forward(self, images: Tensor) -> Tensor:
        return F.batch_norm(self.net(images), None, None, training=True) if len(images) > 1 else self.net(images)


class AddsNoise(Around):
    def forward(self, images: Tensor) -> Tensor:
        logits = self.net(images)
        return logits + logits.std() * torch.randn_like(logits)


class CountsCalls(Around):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.net(images) * self.calls


class AnswersForFirst(Around):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images[:1]).expand(len(images), -1)


class SortsAnswers(Around):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).sort(0).values


class CachesByShape(Around):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.answers: dict[Any, Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        return self.answers.setdefault(images.shape, self.net(images).detach().clone())


class Remembers(Around):
    """A running mean of its answers, as of a recurrent state that is never reset."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.state: Tensor | float = 0.0

    def forward(self, images: Tensor) -> Tensor:
        logits = self.net(images)
        self.state = 0.5 * self.state + logits.detach().mean(0)
        return logits + self.state


class AlwaysNaN(Around):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images) * float("nan")


class ReturnsLabels(Around):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).argmax(1)


CHANGING: tuple[Callable[[nn.Module], nn.Module], ...] = (
    *(SubtractsBatchMean, ScalesByBatchMaximum, NormalisesOverBatch, AddsNoise, CountsCalls, AnswersForFirst),
    *(SortsAnswers, CachesByShape, Remembers, AlwaysNaN, ReturnsLabels),
)
"""Each must be refused in a line."""


class Ending(nn.Module):
    """A network whose logits pass a function."""

    def __init__(self, net: nn.Module, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.end = net, end

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.net(images))


ENDS: Mapping[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "logits": (lambda z: z, 1e-4),
    "shifted": (lambda z: z + 100, 1e-3),
    "softmax": (lambda z: z.softmax(1), 1e-4),
    "softmax_module": (nn.Softmax(1), 1e-4),
    "log_softmax": (lambda z: z.log_softmax(1), 1e-4),
    "percent": (lambda z: 100 * z.softmax(1), 1e-4),
    "half": (lambda z: z.softmax(1).half(), 2e-3),
    "two_decimals": (lambda z: z.softmax(1).mul(100).round() / 100, 1.1e-2),
    "sigmoids": (torch.sigmoid, 2e-3),
    "sigmoid_module": (nn.Sigmoid(), 2e-3),
    "one_logit": (lambda z: z[:, 1:] - z[:, :1], 1e-4),
    "one_probability": (lambda z: z.softmax(1)[:, 1:], 1e-3),
}
"""Per name what is made of logits, and the largest departure of the probabilities that it may cause."""
