"""Hand-wired models of several parts: logits, gradients, contributions by hand, and the best gain that there is."""

import functools

import numpy as np
import pytest
import torch

from mavis.core.attribution_maps import Maps
from mavis.core.model_pass import Pass
from mavis.core.registry import datasets, models
from mavis.models.preparation import prepare

from ..toys import explain, score

SIDE, GRID = 32, 16
SQUARES = {"eyes": (4, 4), "nose": (4, 20), "mouth": (20, 4), "ears": (20, 20)}
"""Upper left corner of each part's 8 × 8 pixels."""

READS = {
    "part_sum": {"reads": ["eyes", "nose", "mouth"]},
    "both_parts": {"reads": ["eyes", "nose"]},
    "disconnected_halves": {"target": "side"},
    "single_logit": {"reads": ["eyes"]},
}


def painted(**levels: float) -> torch.Tensor:
    """A grey image with flat squares."""
    image = torch.full((1, 3, SIDE, SIDE), 0.5)
    for part, level in levels.items():
        row, column = SQUARES[part]
        image[:, :, row : row + 8, column : column + 8] = level
    return image


@functools.cache
def a_run(name: str, count: int = 12) -> Pass:
    """The model, made explainable, on its own data."""
    data = datasets["planted_parts"].create({"size": SIDE, "count": count, **READS[name]})
    model, _ = prepare.prepare_model(models[name].create(), torch.device("cpu"), SIDE)
    return Pass(model, data.load(list(data.table().index)), data.mean, seed=0, chunk=64)


def contributions(run: Pass, targets: torch.Tensor) -> torch.Tensor:
    told = next(module for module in run.model.net.modules() if hasattr(module, "contributions"))
    return told.contributions(run.images, targets)


def test_the_sum_weighs_its_parts_three_two_one() -> None:
    """Evidence .8, −.4 and .2 make 3·.8 − 2·.4 + .2 = 1.8; the ears count nothing."""
    found = models["part_sum"].create().net(painted(eyes=0.9, nose=0.3, mouth=0.6, ears=1.0))
    torch.testing.assert_close(found, torch.tensor([[1.8, -1.8]]))


def test_both_parts_are_needed() -> None:
    """.8 · .6 for bright; one grey part leaves nothing, one dark part neither; two dark parts speak for the other."""
    net = models["both_parts"].create().net
    torch.testing.assert_close(net(painted(eyes=0.9, nose=0.8)), torch.tensor([[0.48, 0.0]]))
    assert net(painted(eyes=0.9)).tolist() == [[0, 0]]
    assert net(painted(eyes=0.9, nose=0.2)).tolist() == [[0, 0]]
    torch.testing.assert_close(net(painted(eyes=0.1, nose=0.2)), torch.tensor([[0.0, 0.48]]))


def test_a_half_says_nothing_of_the_other() -> None:
    """Whatever happens on the right leaves the left logit, and the gradient of one stays in its half."""
    net = models["disconnected_halves"].create().net
    image = painted(eyes=0.9, mouth=0.7)
    torch.testing.assert_close(net(image), torch.tensor([[1.2, 0.0]]))
    image[..., SIDE // 2 :] = torch.rand(3, SIDE, SIDE // 2)
    torch.testing.assert_close(net(image)[:, 0], torch.tensor([1.2]))
    image.requires_grad_()
    net(image)[0, 0].backward()
    assert image.grad[..., : SIDE // 2].abs().sum() > 0
    assert image.grad[..., SIDE // 2 :].abs().sum() == 0


def test_one_logit_has_one_gradient_and_two_cams() -> None:
    """The maps of the two classes are each other's negatives, but not where a ReLU stands between (Grad-CAM)."""
    run = a_run("single_logit")
    torch.testing.assert_close(run.input_gradient(torch.zeros(12).long()), -run.input_gradient(torch.ones(12).long()))
    first, second = (explain("gradcam", run, target) for target in (0, 1))
    assert min(first.min(), second.min()) >= 0
    assert min(first.sum(), second.sum()) > 0


@pytest.mark.parametrize("name", READS)
def test_models_read_the_labels(name: str) -> None:
    """On its data each model is always right."""
    run = a_run(name)
    assert run.logits.argmax(1).equal(run.batch.labels)


@pytest.mark.parametrize("name", READS)
def test_contributions_add_up(name: str) -> None:
    """They sum to the target's logit beyond that of grey, and lie in the region."""
    run = a_run(name)
    found = contributions(run, run.batch.labels)
    beyond = (run.logits - run.predict(torch.full_like(run.images, 0.5))).gather(1, run.batch.labels[:, None])[:, 0]
    torch.testing.assert_close(found.sum((1, 2, 3)), beyond)
    assert (found * ~run.batch.regions[:, None]).abs().max() == 0


def test_a_product_is_shared_equally() -> None:
    """Shapley gives each of two needed parts half of what they do together, however bright they are."""
    net = models["both_parts"].create().net
    image, target = painted(eyes=0.9, nose=0.6), torch.zeros(1, dtype=torch.int64)
    found = net.contributions(image, target)
    for part in ("eyes", "nose"):
        row, column = SQUARES[part]
        assert found[..., row : row + 8, column : column + 8].sum().item() == pytest.approx(0.8 * 0.2 / 2)


@pytest.mark.parametrize("name", ["part_sum", "single_logit"])
def test_contributions_of_a_linear_model_are_gradient_times_distance(name: str) -> None:
    """Input × gradient from grey, in the sum over channels."""
    run = a_run(name)
    expected = ((run.images - 0.5) * run.input_gradient(run.batch.labels)).sum(1, keepdim=True)
    torch.testing.assert_close(contributions(run, run.batch.labels), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("first", ["eyes", "nose", "both"])
def test_a_product_gains_one_minus_twice_p_in_any_order(first: str) -> None:
    """1 − 2/16: what removing one part before the other loses, the reverse wins."""
    data = painted(eyes=0.9, nose=0.9)
    run = Pass(models["both_parts"].create(), a_run("both_parts").batch.single_image(0), torch.full((3,), 0.5), 0, 64)
    run.batch.images.copy_(data)
    values = torch.zeros(1, SIDE, SIDE)
    for part, level in {"eyes": 1 + (first == "eyes"), "nose": 1 + (first == "nose")}.items():
        row, column = SQUARES[part]
        values[:, row : row + 8, column : column + 8] = level
    gain = score("nsrg", Maps.from_values(values, GRID), run, 0, imputers=["mean"], points=257)
    np.testing.assert_allclose(gain, [1 - 2 / 16], atol=2e-3 if first == "both" else 1e-5)
