"""Rows about explainers: one batch of maps, by MAVIS on one pass and by each peer at its default and at its best."""

from collections.abc import Callable, Mapping

import peers
import torch
from captum import attr
from harness import Work, missing
from rows import OURS, Row
from subject import CAM_LAYER, Subject, make_explainers
from torch import Tensor

STEPS, SAMPLES, WINDOWS, MASKS = 32, 16, 64, 256
GRADCAM = {
    "gradcam": "GradCAM",
    "gradcam_plus_plus": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGradCAM",
}
EIGHT = ("saliency", "input_x_gradient", "cam", *GRADCAM)


def integrated_gradients(images: int) -> Row:
    """32 steps."""
    subject = Subject(images)
    explainer = attr.IntegratedGradients(subject.peer)

    def captum(batch: int | None) -> Work:
        return lambda: explainer.attribute(
            subject.images, target=subject.targets, n_steps=STEPS, internal_batch_size=batch
        )

    sides = {
        OURS: _ours(subject, {"integrated_gradients": {"steps": STEPS}}),
        "Captum, batches of 32": captum(max(32, images)),
        "Captum, batches of 128": captum(max(128, images)),
        "Captum, default": captum(None),
    }
    work = images * STEPS
    return Row(subject, sides, floor=(work, work), goal="within 5 % of Captum at its best batch")


def smoothgrad(images: int) -> Row:
    """16 noisy copies."""
    subject = Subject(images)
    tunnel = attr.NoiseTunnel(attr.Saliency(subject.peer))

    def captum(copies: int | None) -> Work:
        return lambda: tunnel.attribute(
            subject.images,
            nt_samples=SAMPLES,
            nt_type="smoothgrad",
            stdevs=0.1,
            target=subject.targets,
            abs=False,
            nt_samples_batch_size=copies,
        )

    sides = {
        OURS: _ours(subject, {"smoothgrad": {"samples": SAMPLES}}),
        "Captum, one copy at a time": captum(1),
        "Captum, four": captum(4),
        "Captum, default": captum(None),
    }
    work = images * SAMPLES
    return Row(subject, sides, floor=(work, work), goal="within 5 % of Captum at its best batch")


def occlusion(images: int) -> Row:
    """64 squares of 8 × 8 pixels, side by side."""
    subject = Subject(images)
    explainer = attr.Occlusion(subject.peer)

    def captum(squares: int) -> Work:
        return lambda: explainer.attribute(
            subject.images,
            target=subject.targets,
            sliding_window_shapes=(3, 8, 8),
            strides=(3, 8, 8),
            perturbations_per_eval=squares,
        )

    sides = {
        OURS: _ours(subject, {"occlusion": {"window": 0.125, "stride": 0.125}}),
        "Captum, default": captum(1),
        "Captum, four at a time": captum(4),
    }
    return Row(subject, sides, floor=(images * (WINDOWS + 1), 0), goal="≤ 1.10 F by default")


def rise(images: int) -> Row:
    """256 masks; none of the peers has it."""
    subject = Subject(images)
    absent = dict.fromkeys(("quantus", "captum", "grad-cam", "pnpxai"), "has no RISE")
    ours = _ours(subject, {"rise": {"masks": MASKS}})
    return Row(subject, {OURS: ours}, floor=(images * MASKS, 0), goal="≤ 1.10 F by default", absent=absent)


def surrogate(images: int, name: str, kind: type[attr.Lime]) -> Row:
    """LIME or KernelSHAP on 64 cells of 8 × 8 pixels, 256 samples."""
    subject = Subject(images)
    explainer = kind(subject.peer)
    cells = torch.arange(64).view(8, 8).repeat_interleave(8, 0).repeat_interleave(8, 1)[None, None]

    def captum(at_once: int) -> Work:
        return lambda: explainer.attribute(
            subject.images,
            baselines=0.5,
            target=subject.targets,
            feature_mask=cells,
            n_samples=MASKS,
            perturbations_per_eval=at_once,
        )

    sides = {
        OURS: _ours(subject, {name: {"samples": MASKS, "cells": 8}}),
        "Captum, default": captum(1),
        "Captum, 128 at a time": captum(128),
    }
    return Row(subject, sides, floor=(images * (MASKS + 1), 0), goal="≤ 1.10 F by default")


def gradcam(images: int) -> Row:
    """Grad-CAM alone; the floor is a forward and a backward that ends at the CAM layer."""
    subject = Subject(images)
    layer = attr.LayerGradCam(subject.peer, subject.peer.get_submodule(CAM_LAYER))

    def captum() -> Tensor:
        maps = layer.attribute(subject.images, subject.targets, relu_attributions=True)
        return torch.nn.functional.interpolate(maps, size=subject.images.shape[2:], mode="bilinear")

    sides: dict[str, Work] = {OURS: _ours(subject, {"gradcam": {}}, through_input=False), "Captum": captum}
    return Row(
        subject,
        {**sides, **_gradcam(subject, ("gradcam",))},
        floor=lambda: _top(subject),
        goal="≥ 2.5x",
        absent=_absent("grad-cam"),
    )


def eight_maps(images: int) -> Row:
    """Eight gradient and CAM maps of one batch; each peer makes every map by itself."""
    subject = Subject(images)
    captum_names = tuple(name for name in EIGHT if name not in GRADCAM)

    def captum() -> None:
        for name in captum_names:
            peers.ATTRIBUTE[name](subject.peer, subject.images, subject.targets)

    sides: dict[str, Work] = {OURS: _ours(subject, {name: {} for name in EIGHT})}
    if theirs := _gradcam(subject, tuple(GRADCAM)):
        sides["Captum + grad-cam"] = lambda: (captum(), theirs["grad-cam"]())
    return Row(subject, sides, floor=(images, images), goal="≤ 1.2 F, ≥ 6x", absent=_absent("grad-cam"))


def _ours(
    subject: Subject, explainer_params: Mapping[str, Mapping[str, object]], *, through_input: bool = True
) -> Work:
    """The maps of one pass."""
    methods = make_explainers(explainer_params)

    def work() -> list[Tensor]:
        model_pass = subject.make_pass()
        model_pass.input_requires_grad = through_input
        return [method.plugin(model_pass, subject.targets) for method in methods]

    return work


def _gradcam(subject: Subject, names: tuple[str, ...]) -> dict[str, Work]:
    if missing("grad-cam"):
        return {}
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(target) for target in subject.targets.tolist()]

    def work() -> None:
        for name in names:
            with getattr(pytorch_grad_cam, GRADCAM[name])(
                model=subject.peer, target_layers=[subject.peer.get_submodule(CAM_LAYER)]
            ) as cam:
                cam(input_tensor=subject.images, targets=targets)

    return {"grad-cam": work}


def _top(subject: Subject) -> Tensor:
    """One forward, and a backward from the logits to the CAM layer."""
    with torch.no_grad():
        inside = subject.net[: int(CAM_LAYER) + 1](subject.images)
    inside.requires_grad_()
    logits = subject.net[int(CAM_LAYER) + 1 :](inside)
    return torch.autograd.grad(logits.gather(1, subject.targets[:, None]).sum(), inside)[0]


def _absent(*packages: str) -> dict[str, str]:
    return {package: missing(package) for package in packages if missing(package)}


EXPLAINER_ROWS: Mapping[str, Callable[[int], Row]] = {
    "integrated gradients, 32 steps": integrated_gradients,
    "SmoothGrad, 16 copies": smoothgrad,
    "occlusion, 64 squares": occlusion,
    "RISE, 256 masks": lambda n: rise(max(1, n // 4)),
    "LIME, 256 samples": lambda n: surrogate(max(1, n // 4), "lime", attr.Lime),
    "KernelSHAP, 256 samples": lambda n: surrogate(max(1, n // 4), "kernel_shap", attr.KernelShap),
    "Grad-CAM alone": gradcam,
    "eight gradient and CAM maps": eight_maps,
}
