"""The peers' side, written as their users write it."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from captum import attr
from subject import CAM_LAYER, CLASSES, Subject
from torch import Tensor, nn

Explain = Callable[..., np.ndarray]
"""As Quantus calls it: ``explain_func(model=, inputs=, targets=, **)`` -> ``(B,1,H,W)``."""

Attribute = Callable[[nn.Module, Tensor, Tensor], Tensor]

QUIET = {"disable_warnings": True, "display_progressbar": False}


def _gradcam(net: nn.Module, images: Tensor, targets: Tensor, *, cut: bool) -> Tensor:
    maps = attr.LayerGradCam(net, net.get_submodule(CAM_LAYER)).attribute(images, targets, relu_attributions=cut)
    return nn.functional.interpolate(maps, size=images.shape[2:], mode="bilinear")


def _hirescam(net: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    layer = attr.LayerGradientXActivation(net, net.get_submodule(CAM_LAYER))
    maps = layer.attribute(images, targets).sum(1, keepdim=True)
    return nn.functional.interpolate(maps, size=images.shape[2:], mode="bilinear")


def _gradcam_plus_plus(net: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """By pytorch-grad-cam; Captum has none."""
    from pytorch_grad_cam import GradCAMPlusPlus
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam_targets = [ClassifierOutputTarget(target) for target in targets.tolist()]
    with GradCAMPlusPlus(model=net, target_layers=[net.get_submodule(CAM_LAYER)]) as cam:
        return torch.from_numpy(cam(input_tensor=images, targets=cam_targets))[:, None]


def _smoothgrad(net: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    tunnel = attr.NoiseTunnel(attr.Saliency(net))
    return tunnel.attribute(
        images, nt_samples=16, nt_type="smoothgrad", stdevs=0.1, target=targets, abs=False, nt_samples_batch_size=8
    )


def _occlusion(net: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    square = (3, images.shape[2] // 8, images.shape[3] // 8)
    return attr.Occlusion(net).attribute(
        images, target=targets, sliding_window_shapes=square, strides=square, perturbations_per_eval=8
    )


ATTRIBUTE: Mapping[str, Attribute] = {
    "saliency": lambda net, x, t: attr.Saliency(net).attribute(x, t, abs=False),
    "input_x_gradient": lambda net, x, t: attr.InputXGradient(net).attribute(x, t),
    "guided_backprop": lambda net, x, t: attr.GuidedBackprop(net).attribute(x, t),
    "cam": lambda net, x, t: _gradcam(net, x, t, cut=False),
    "gradcam": lambda net, x, t: _gradcam(net, x, t, cut=True),
    "hirescam": _hirescam,
    "gradcam_plus_plus": _gradcam_plus_plus,
    "guided_gradcam": lambda net, x, t: attr.GuidedGradCam(net, net.get_submodule(CAM_LAYER)).attribute(x, t),
    "integrated_gradients": lambda net, x, t: attr.IntegratedGradients(net).attribute(
        x, target=t, n_steps=32, internal_batch_size=256
    ),
    "smoothgrad": _smoothgrad,
    "occlusion": _occlusion,
}
"""Captum's explainers, and one of pytorch-grad-cam, as MAVIS names the same maps; settings of the whole job."""


def explain_func(name: str) -> Explain:
    """A Captum explainer as Quantus calls it, channels summed."""

    def explain(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
        images = torch.as_tensor(np.asarray(inputs), dtype=torch.float32)
        classes = torch.as_tensor(np.asarray(targets)).long()
        maps = ATTRIBUTE[name](model, images, classes)
        return maps.detach().sum(1, keepdim=True).numpy()

    return explain


def score(metric: Callable[..., object], subject: Subject, maps: np.ndarray, explain: Explain | None = None) -> object:
    """One Quantus metric on all images as one batch."""
    images, targets, masks = subject.arrays()
    return metric(
        model=subject.peer,
        x_batch=images,
        y_batch=targets,
        a_batch=maps,
        s_batch=masks,
        explain_func=explain,
        device="cpu",
        channel_first=True,
        batch_size=len(images),
    )


def job_metrics(size: int) -> dict[str, Callable[[], object]]:
    """The twelve metrics of the whole job."""
    import quantus

    per_image = {**QUIET, "return_aggregate": False}
    return {
        "pixel_flipping": lambda: quantus.PixelFlipping(features_in_step=size * size // 16, **QUIET),
        "faithfulness_correlation": lambda: quantus.FaithfulnessCorrelation(nr_runs=100, subset_size=224, **per_image),
        "selectivity": lambda: quantus.Selectivity(patch_size=size // 8, **QUIET),
        "max_sensitivity": lambda: quantus.MaxSensitivity(nr_samples=10, **per_image),
        "avg_sensitivity": lambda: quantus.AvgSensitivity(nr_samples=10, **per_image),
        "mprt": lambda: quantus.MPRT(**per_image),
        "random_logit": lambda: quantus.RandomLogit(num_classes=CLASSES, **per_image),
        "pointing_game": lambda: quantus.PointingGame(**per_image),
        "relevance_mass": lambda: quantus.RelevanceMassAccuracy(**per_image),
        "relevance_rank": lambda: quantus.RelevanceRankAccuracy(**per_image),
        "sparseness": lambda: quantus.Sparseness(**per_image),
        "complexity": lambda: quantus.Complexity(**per_image),
    }
