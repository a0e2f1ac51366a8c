"""An explainer."""

from collections.abc import Callable

from torch import Tensor

from mavis import Pass, explainer


@explainer("max_gradient", source="Simonyan et al. 2013, section 3.1, arXiv 1312.6034", needs={"gradient"})
def max_gradient(power: float = 1.0) -> Callable[[Pass, Tensor], Tensor]:
    """Largest absolute gradient of the target logit over the colour channels.

    Args:
        power: the map is raised to this.
    """

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        return model_pass.input_gradient(targets).abs().amax(1, keepdim=True) ** power

    return explain
