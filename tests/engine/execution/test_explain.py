"""Maps of a batch: shapes are checked, images are not lent to be changed, variant models are kept within bounds."""

import pytest
import torch
from torch import Tensor

from mavis.core.errors import ContractError
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import Randomised, Shifted
from mavis.core.registry import explainers
from mavis.engine.execution.explain import MapProducer, ModelTask, VariantModelCache
from mavis.engine.planning.plan import Component, Components

from ...toys import GREY, Pooled, make_explainer, make_model, make_pass, random_images, targets


def producer(*components: Component) -> MapProducer:
    """A map producer of a small network."""
    task = ModelTask(
        make_model(Pooled()),
        None,
        Components(components, ()),
        {},
        GREY,
        seed=0,
        grid=2,
        chunk=8,  # type: ignore[arg-type]
    )
    return MapProducer(task)


def component(explain: object) -> Component:
    return Component("mine", {}, explainers["saliency"].traits, explain)


def test_values_are_pooled_over_the_channels() -> None:
    """One number per pixel: the sum of the raw values over the channels, or their length, as the explainer declares."""
    model_pass = make_pass(Pooled(), random_images(2, 4))
    saliency = make_explainer("saliency")
    raw = saliency.plugin(model_pass, targets(model_pass))
    values = producer(saliency).pixel_values(saliency, model_pass, targets(model_pass))
    torch.testing.assert_close(values, raw.sum(1) if saliency.traits.pooling == "sum" else raw.norm(dim=1))


def test_an_explainer_that_changes_the_images_is_refused() -> None:
    """Its map would be of other images, and so would every later one."""

    def explain(model_pass: Pass, _: Tensor) -> Tensor:
        return model_pass.images.mul_(2)

    model_pass = make_pass(Pooled(), random_images(2, 4))
    with pytest.raises(ContractError, match="changed the images"):
        producer().pixel_values(component(explain), model_pass, targets(model_pass))


def test_a_map_of_another_shape_is_refused() -> None:
    """The message says what is expected and what came."""
    model_pass = make_pass(Pooled(), random_images(2, 4))
    with pytest.raises(ContractError, match="must return"):
        producer().pixel_values(component(lambda *_: torch.ones(2, 4)), model_pass, targets(model_pass))


def test_models_of_variants_are_kept_while_there_is_room() -> None:
    """One that fits is made once; one that does not is made again; one that shares the weights takes no room."""
    made = make_model(Pooled())
    size = sum(parameter.nbytes for parameter in made.net.parameters())
    roomy, full = VariantModelCache(size), VariantModelCache(size - 1)
    assert roomy.get(Shifted(1.0), made, 0) is roomy.get(Shifted(1.0), made, 0)
    assert roomy.get(Randomised(0), made, 0) is roomy.get(Randomised(0), made, 0)
    assert roomy.get(Randomised(1), made, 0) is not roomy.get(Randomised(1), made, 0)
    assert full.get(Randomised(0), made, 0) is not full.get(Randomised(0), made, 0)
