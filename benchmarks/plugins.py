"""Two explainers for the comparisons, where MAVIS has none of its own: Guided Grad-CAM and HiResCAM."""

from torch import Tensor

from mavis.core.attribution_maps import upsample
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.registry import explainer, explainers


def ensure() -> None:
    """Registers the explainers that MAVIS lacks."""
    if "guided_gradcam" not in explainers:
        explainer("guided_gradcam", source="Selvaraju et al. 2017, section 3.3, arXiv 1610.02391")(guided_gradcam)
    if "hirescam" not in explainers:
        needs = frozenset({"activations", "gradient"})
        explainer("hirescam", source="Draelos and Carin 2020, arXiv 2011.08891", needs=needs)(hirescam)


def guided_gradcam() -> Explainer:
    """Guided backpropagation times the enlarged Grad-CAM."""
    guided, cam = explainers["guided_backprop"].create(), explainers["gradcam"].create()
    return lambda model_pass, targets: guided(model_pass, targets) * cam(model_pass, targets)


def hirescam() -> Explainer:
    """Activations times their gradients, summed over channels and enlarged."""

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        maps = (model_pass.activations * model_pass.activation_gradients(targets)).sum(1, keepdim=True)
        return upsample(maps, (model_pass.images.shape[2], model_pass.images.shape[3]))

    return explain
