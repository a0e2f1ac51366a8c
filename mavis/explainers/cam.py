"""Class activation maps: the CAM layer's channels, weighted, summed and enlarged to the image.

`cam` takes its weights from the linear head, most others from gradients; `eigencam`, `scorecam` and `ablationcam` use
neither. All return a map ``(B,1,H,W)``, enlarged bilinearly from the layer's own grid. The layer is the model's
``cam_layer``; a transformer's tokens are arranged on the grid of its patches.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mavis.core.attribution_maps import upsample
from mavis.core.devices import upcast
from mavis.core.errors import BadParameter, ModelError
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.registry import explainer, explainers

Size = tuple[int, int]
"""Height and width."""

MAX_EXTRA_TOKENS = 8
"""Maximum number of tokens before the patches: class, distillation and register tokens."""


@explainer("cam", source="Zhou et al. 2016, equation 2, arXiv 1512.04150", needs={"activations", "weights"})
def cam() -> Explainer:
    """Head weights of the target class times activations, signed.

    Needs a network that ends in global average pooling and one linear layer.
    """

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        weights = _classifier_head(model_pass).weight.detach()[targets]
        return _class_activation_map(model_pass, weights[:, :, None, None], apply_relu=False)

    return explain


@explainer(
    "gradcam",
    source="Selvaraju et al. 2017, equations 1 and 2, arXiv 1610.02391",
    needs={"activations", "gradient"},
    signed=False,
)
def gradcam() -> Explainer:
    """Channels weighted by their mean gradient, summed, negative values cut."""
    return _gradcam


@explainer(
    "gradcam_plus_plus",
    source="Chattopadhay et al. 2018, equations 5 and 19, arXiv 1710.11063",
    needs={"activations", "gradient"},
    signed=False,
)
def gradcam_plus_plus() -> Explainer:
    """Grad-CAM with weights that count every pixel where a channel fires; negative values cut.

    The weights are the paper's for the class score exp(logit). Its common factor is left out: it does not change the
    map's shape and would overflow.

    Differs: pytorch-grad-cam adds 1e-6 to the denominator.
    """

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        gradient, activations = _gradients(model_pass, targets), _activations(model_pass)
        square, cube = gradient**2, gradient**3
        alpha = _divide_or_zero(square, 2 * square + activations.sum((2, 3), keepdim=True) * cube)
        return _class_activation_map(model_pass, (alpha * gradient.relu()).sum((2, 3), keepdim=True))

    return explain


@explainer(
    "hirescam",
    source="Draelos and Carin 2020, arXiv 2011.08891",
    needs={"activations", "gradient"},
)
def hirescam() -> Explainer:
    """Gradient times activation at every pixel of the layer, summed over the channels, signed.

    After global average pooling over n pixels and one linear layer it is CAM divided by n.

    Differs: pytorch-grad-cam cuts negative values.
    """
    return lambda model_pass, targets: _class_activation_map(
        model_pass, _gradients(model_pass, targets), apply_relu=False
    )


@explainer(
    "layercam",
    source="Jiang et al. 2021, IEEE Transactions on Image Processing 30",
    needs={"activations", "gradient"},
    signed=False,
)
def layercam() -> Explainer:
    """Positive gradient times activation at every pixel of the layer, summed over channels, negative values cut."""
    return lambda model_pass, targets: _class_activation_map(model_pass, _gradients(model_pass, targets).relu())


@explainer(
    "xgradcam",
    source="Fu et al. 2020, arXiv 2008.02312",
    needs={"activations", "gradient"},
    signed=False,
    same_as="gradcam",
)
def xgradcam() -> Explainer:
    """Channels weighted by their activation-weighted mean gradient, summed, negative values cut.

    After global average pooling and one linear layer it is Grad-CAM. A channel whose activations sum to 0 has weight 0;
    where activations may be negative the sum can be small by chance, and the weight large.

    Differs: pytorch-grad-cam adds 1e-7 to the sum.
    """

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        gradient, activations = _gradients(model_pass, targets), _activations(model_pass)
        weighted, total = (upcast(x).sum((2, 3), keepdim=True) for x in (gradient * activations, activations))
        return _class_activation_map(model_pass, _divide_or_zero(weighted, total).to(gradient.dtype))

    return explain


@explainer("eigencam", source="Muhammad and Yeasin 2020, arXiv 2008.00299", needs={"activations"})
def eigencam() -> Explainer:
    """Activations projected on their first right singular vector: the same map for every class.

    The vector's sign is arbitrary; here it is chosen so that the map has a positive sum, so that after a ReLU no value
    is negative.

    Differs: pytorch-grad-cam subtracts each channel's mean first and leaves the sign to chance.
    """

    def explain(model_pass: Pass, _: Tensor) -> Tensor:
        activations = _activations(model_pass)
        projection = _project_on_first_component(activations.flatten(2).transpose(1, 2))
        grid_map = projection.unflatten(1, activations.shape[2:])[:, None]
        return upsample(grid_map.to(activations.dtype), _image_size(model_pass))

    return explain


@explainer(
    "scorecam",
    source="Wang et al. 2020, algorithm 1, arXiv 1910.01279",
    needs={"activations"},
    signed=False,
)
def scorecam() -> Explainer:
    """Channels weighted by the softmax over the target logits of the image masked by each of them.

    A channel, enlarged and scaled to [0,1], is a soft mask of the image: where it is 0 the data set's mean colour
    shows; a constant channel masks everything. Every channel is evaluated, so an image costs as many forwards as the
    CAM layer has channels, and one. Negative values of the sum are cut.

    Differs: the paper fades to its networks' zero, the mean colour of ImageNet; its baseline image, whose score is
    the same for every channel, drops out of the softmax. pytorch-grad-cam enlarges with corners aligned.
    """

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        activations, mean = _activations(model_pass), model_pass.mean[None, :, None, None]

        def predict_masked(rows: Tensor, channels: Tensor) -> Tensor:
            mask = _min_max_scale(upsample(activations[rows, channels][:, None], _image_size(model_pass)))
            return model_pass.predict(torch.lerp(mean, model_pass.images[rows], mask))

        weights = _target_logits_per_channel(model_pass, targets, predict_masked).softmax(1)
        return _class_activation_map(model_pass, weights[:, :, None, None])

    return explain


@explainer(
    "ablationcam",
    source="Desai and Ramaswamy 2020, WACV",
    needs={"activations"},
    signed=False,
)
def ablationcam() -> Explainer:
    """Channels weighted by the drop of the target logit without them, summed, negative values cut.

    A removed channel is set to zero, in all tokens of a transformer. Every channel is evaluated, so an image costs as
    many forwards as the CAM layer has channels, and one.

    Differs: the paper divides by the image's logit, which turns the map around where the logit is negative.
    pytorch-grad-cam does too, and puts −1e7 in place of zero wherever the layer's lowest value is not zero.
    """

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        logits = model_pass.logits.gather(1, targets[:, None])
        drops = logits - _target_logits_per_channel(
            model_pass, targets, lambda rows, channels: _logits_without_channels(model_pass, rows, channels)
        )
        return _class_activation_map(model_pass, drops[:, :, None, None])

    return explain


@explainer(
    "guided_gradcam",
    source="Selvaraju et al. 2017, section 3.2, arXiv 1610.02391",
    needs={"activations", "gradient"},
    pooling="l2",
)
def guided_gradcam() -> Explainer:
    """Guided backpropagation times Grad-CAM, per pixel and channel.

    Differs: Captum enlarges Grad-CAM by nearest neighbours unless told otherwise.

    Raises:
        ModelError: the model has no ReLU to guide.
    """

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        if not any(isinstance(module, nn.ReLU) for module in model_pass.model.net.modules()):
            raise ModelError(f"'{model_pass.model.name}' has no ReLU, so guided is plain backpropagation; use gradcam.")
        guided: Tensor = explainers["guided_backprop"].create()(model_pass, targets)
        return guided * _gradcam(model_pass, targets)

    return explain


@explainer(
    "layercam_fusion",
    source="Jiang et al. 2021, equation 9, IEEE Transactions on Image Processing 30",
    needs={"activations", "gradient"},
    signed=False,
)
def layercam_fusion(gamma: float = 2.0) -> Explainer:
    """LayerCAM of one layer per resolution, each scaled to tanh(gamma · map/maximum), and the largest at every pixel.

    The layers are chosen automatically: down to the CAM layer, the last of the outermost modules at each resolution.

    Args:
        gamma: steepness of the scaling, above 0.

    Differs: the paper scales the shallow layers only, whose values are small beside those of deep ones.
    """
    if gamma <= 0:
        raise BadParameter(f"layercam_fusion: gamma must be above 0, got {gamma}.")

    def scale_layer(model_pass: Pass, gradient: Tensor, activations: Tensor) -> Tensor:
        layer_map = (gradient.relu() * activations).sum(1, keepdim=True).relu()
        return torch.tanh(
            gamma * upsample(_divide_or_zero(layer_map, layer_map.amax((2, 3), keepdim=True)), _image_size(model_pass))
        )

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        images = model_pass.images.detach().requires_grad_()
        with torch.enable_grad(), _record_stages(model_pass) as stages:
            target_logits = model_pass.net(images).gather(1, targets[:, None]).sum()
        outputs = _stage_outputs(model_pass, stages)
        pairs = zip(torch.autograd.grad(target_logits, outputs, materialize_grads=True), outputs, strict=True)
        layers = [
            [channels_first(values.detach()[: len(model_pass)], _image_size(model_pass)) for values in pair]
            for pair in pairs
        ]
        return torch.stack([scale_layer(model_pass, *layer) for layer in layers]).amax(0)

    return explain


def channels_first(values: Tensor, size: Size) -> Tensor:
    """A layer's output with channels first, on its grid: ``(B,C,h,w)``.

    Args:
        values: ``(B,C,h,w)``, ``(B,h,w,C)`` (Swin), or tokens ``(B,N,C)`` of which the last are the patches.
        size: of the images; a grid has about their proportions, which distinguishes its axes from the channels.

    Raises:
        ModelError: another shape, or tokens that form no grid.
    """
    if values.dim() == 4:
        first, last = (_aspect_distortion(values.shape[i : i + 2], size) for i in (2, 1))
        return values if first <= last else values.movedim(-1, 1)
    if values.dim() == 3:
        h, w = patch_grid(values.shape[1], size)
        grid: Tensor = values[:, -h * w :].transpose(1, 2).unflatten(2, (h, w))
        return grid
    raise ModelError(
        f"CAM reads a layer's output (B,C,h,w), (B,h,w,C) or (B,tokens,C), got {tuple(values.shape)}; "
        "choose a layer before the pooling."
    )


def patch_grid(n_tokens: int, size: Size) -> Size:
    """The grid of a transformer's patches, with as few extra tokens before them as possible.

    Args:
        n_tokens: patches and at most `MAX_EXTRA_TOKENS` others, fewer than there are patches.
        size: of the images, which has the grid's proportions.

    Raises:
        ModelError: there is no such grid.
    """
    H, W = size
    for count in range(n_tokens, max(n_tokens // 2, n_tokens - 1 - MAX_EXTRA_TOKENS), -1):
        h = max(1, round(math.sqrt(count * H / W)))
        w = count // h
        if h * w == count and h * W == w * H:
            return h, w
    raise ModelError(
        f"{n_tokens} tokens are no grid of patches of an image of {H} × {W} px after at most {MAX_EXTRA_TOKENS} "
        "others; choose a layer whose output is (B,C,h,w), or tokens of square patches."
    )


def _aspect_distortion(grid: torch.Size, size: Size) -> float:
    return abs(math.log(grid[0] * size[1] / (grid[1] * size[0])))


def _image_size(model_pass: Pass) -> Size:
    return model_pass.images.shape[2], model_pass.images.shape[3]


def _activations(model_pass: Pass) -> Tensor:
    """``(B,C,h,w)``."""
    return channels_first(model_pass.activations, _image_size(model_pass))


def _gradients(model_pass: Pass, targets: Tensor) -> Tensor:
    """``(B,C,h,w)``: gradients of the target logits with respect to the activations."""
    gradients = model_pass.activation_gradients(targets)
    on_grid = channels_first(gradients, _image_size(model_pass))
    if gradients.dim() == 3 and gradients.any() and not on_grid.any():
        raise ModelError(
            f"Of '{model_pass.model.cam_layer}' the logits of '{model_pass.model.name}' read the class token only, "
            "so its patches have no gradient; choose an earlier CAM layer, such as the last block's first norm."
        )
    return on_grid


def _gradcam(model_pass: Pass, targets: Tensor) -> Tensor:
    return _class_activation_map(model_pass, _gradients(model_pass, targets).mean((2, 3), keepdim=True))


def _class_activation_map(model_pass: Pass, weights: Tensor, *, apply_relu: bool = True) -> Tensor:
    """Sum over channels of weights ``(B,C,1,1)`` or ``(B,C,h,w)`` times activations, cut at zero, enlarged."""
    values = (weights * _activations(model_pass)).sum(1, keepdim=True)
    return upsample(values.relu() if apply_relu else values, _image_size(model_pass))


def _divide_or_zero(a: Tensor, b: Tensor) -> Tensor:
    """a/b; zero where b is zero."""
    return (a / b).masked_fill(b == 0, 0.0)


def _min_max_scale(values: Tensor) -> Tensor:
    """Each of ``(N,1,H,W)`` scaled to [0,1]; zero where it is constant."""
    low = values.amin((2, 3), keepdim=True)
    spread = values.amax((2, 3), keepdim=True) - low
    return (values - low) * _divide_or_zero(torch.ones_like(spread), spread)


def _classifier_head(model_pass: Pass) -> nn.Linear:
    """The one linear layer that reads the pooled CAM layer."""
    linear = [module for module in model_pass.model.net.modules() if isinstance(module, nn.Linear)]
    channels = _activations(model_pass).shape[1]
    if len(linear) != 1 or linear[0].in_features != channels:
        raise ModelError(
            f"CAM needs one linear layer of {channels} inputs after global average pooling; "
            f"'{model_pass.model.name}' has {len(linear)} linear layers. Use gradcam, which equals CAM there."
        )
    return linear[0]


def _project_on_first_component(matrices: Tensor) -> Tensor:
    """Rows of each of ``(B,n,C)`` projected on its first right singular vector: ``(B,n)``, double, of positive sum."""
    # eigh raises for values that are not finite, so such an image is zeros here and NaN in the result.
    finite = matrices.isfinite().all(2).all(1)[:, None]
    matrices = upcast(matrices.where(finite[..., None], 0.0))
    # The smaller Gram matrix suffices: with A Aᵀ u = σ² u the projection A v is σ u.
    wide = matrices.shape[1] <= matrices.shape[2]
    eigenvalues, vectors = torch.linalg.eigh(matrices @ matrices.mT if wide else matrices.mT @ matrices)
    leading = vectors[:, :, -1]
    projections = leading * eigenvalues[:, -1:].clamp_min(0).sqrt() if wide else (matrices @ leading[..., None])[..., 0]
    return torch.where(projections.sum(1, keepdim=True) < 0, -projections, projections).where(finite, torch.nan)


def _target_logits_per_channel(
    model_pass: Pass, targets: Tensor, predict: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Target logits of every channel of the CAM layer, as many channels at once as fit a call.

    Args:
        model_pass: the pass.
        targets: ``(B,)``.
        predict: ``(rows (N,), channels (N,)) -> logits (N,K)``.

    Returns:
        ``(B,C)``, target logits.
    """
    B, C = _activations(model_pass).shape[:2]
    pairs = torch.arange(B * C, device=targets.device)
    logits = torch.cat([predict(part // C, part % C) for part in pairs.split(model_pass.chunk)])
    target_logits: Tensor = logits.gather(1, targets.repeat_interleave(C)[:, None]).unflatten(0, (B, C))
    return target_logits[..., 0]


def _logits_without_channels(model_pass: Pass, rows: Tensor, channels: Tensor) -> Tensor:
    """Logits ``(N,K)`` of the images ``rows (N,)``, one of the CAM layer's ``channels (N,)`` put to zero in each."""
    index = torch.arange(len(rows), device=rows.device)

    def zero_channels(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        output = output.clone()
        is_channels_first = output.dim() == 4 and channels_first(output, _image_size(model_pass)) is output
        (output if is_channels_first else output.movedim(-1, 1))[index, channels] = 0
        return output

    handle = model_pass.model.net.get_submodule(str(model_pass.model.cam_layer)).register_forward_hook(zero_channels)
    try:
        return model_pass.predict(model_pass.images[rows])
    finally:
        handle.remove()


class _StageRecorder:
    """Outputs of a network's modules, one per resolution, up to the CAM layer's.

    Attributes:
        outputs: by height and width, in the order of the first forward: depth of the module in the tree, and output.
        cam_size: the CAM layer's height and width, once it has been passed.
    """

    def __init__(self, size: Size) -> None:
        self.size = size
        self.outputs: dict[Size, tuple[int, Tensor]] = {}
        self.cam_size: Size | None = None

    def record(self, depth: int, output: object, *, is_cam: bool) -> None:
        """Records a module's output, unless a module higher up in the tree has the resolution; the CAM layer's is last.

        An output of three channels is skipped: it is the normalised image.
        """
        if self.cam_size or not isinstance(output, Tensor) or not (is_cam or output.dim() == 4):
            return
        channels, h, w = channels_first(output, self.size).shape[1:]
        known_depth = self.outputs[h, w][0] if (h, w) in self.outputs else depth
        if is_cam or (depth <= known_depth and channels > 3):
            self.outputs[h, w] = depth, output
        self.cam_size = (h, w) if is_cam else None


@contextmanager
def _record_stages(model_pass: Pass) -> Iterator[_StageRecorder]:
    """Records the outputs of every module while it is open, and removes its hooks."""
    stages = _StageRecorder(_image_size(model_pass))

    def record_module(name: str) -> Callable[..., None]:
        depth, is_cam = name.count("."), name == model_pass.model.cam_layer
        return lambda _, __, output: stages.record(depth, output, is_cam=is_cam)

    known = model_pass.model.image_layers
    handles = [
        module.register_forward_hook(record_module(name))
        for name, module in model_pass.model.net.named_modules()
        if name and (known is None or name in known or name == model_pass.model.cam_layer)
    ]
    try:
        yield stages
    finally:
        for handle in handles:
            handle.remove()


def _stage_outputs(model_pass: Pass, recorder: _StageRecorder) -> list[Tensor]:
    """Outputs from fine to coarse, without those coarser than the CAM layer or finer than a stage before them."""
    min_size = recorder.cam_size or (0, 0)
    stages: list[tuple[Size, Tensor]] = []
    for (h, w), (_, output) in recorder.outputs.items():
        if h >= min_size[0] and w >= min_size[1] and not (stages and (h >= stages[-1][0][0] or w >= stages[-1][0][1])):
            stages.append(((h, w), output))
    if len(stages) < 2:
        raise ModelError(f"'{model_pass.model.name}' has one resolution down to its CAM layer; use layercam.")
    return [output for _, output in stages]
