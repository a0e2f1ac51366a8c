"""Curves over removed cells equal explicit loops; ties score their expectation; counts and chunks are exact."""

import itertools
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
import torch
from torch import Tensor

from mavis.kinds import Curve, CurveValues, Probe
from mavis.sweep import removal_counts

from .toys import Pooled, a_pass, additive, both, maps_of_cells, model, noise, scene, white

C = torch.tensor([4.0, -1.0, 3.0, 2.5])
MIF = Curve("mean", "mif", 5)
LIF = Curve("mean", "lif", 5)


def curve_of(net: torch.nn.Module, cells: Tensor, curve: Curve) -> CurveValues:
    """The curve of each row of cell values, on one white image per row."""
    run = a_pass(net, white(len(cells)))
    return scene(run, cells.shape[1]).curves(maps_of_cells(cells), [curve])[0][curve]


# Which cells, how many.


@pytest.mark.parametrize(("cells", "points"), [(256, 11), (256, 21), (4, 5), (4, 9), (49, 11), (9, 3), (256, 101)])
def test_counts_are_rounded_halves_up(cells: int, points: int) -> None:
    """k = q·n for q evenly from 0 to 1, rounded as by hand (decimal arithmetic, halves up)."""
    exact = [Decimal(cells) * i / (points - 1) for i in range(points)]
    expected = [int(k.quantize(Decimal(1), rounding=ROUND_HALF_UP)) for k in exact]
    assert removal_counts(cells, points).tolist() == expected


def test_counts_of_the_protocol() -> None:
    """Of 256 cells, eleven points remove these; the abscissa is the share really removed, not 0.1, 0.2 …"""
    counts = [0, 26, 51, 77, 102, 128, 154, 179, 205, 230, 256]
    assert removal_counts(256, 11).tolist() == counts
    run = a_pass(additive(torch.ones(256)), white(1, 16))
    curve = Curve("mean", "mif", 11)
    values = scene(run, 256).curves(maps_of_cells(torch.arange(256.0)[None], 16), [curve])[0][curve]
    torch.testing.assert_close(values.x, torch.tensor(counts) / 256)
    torch.testing.assert_close(values.y[0], 256 - torch.tensor(counts).float())


@pytest.mark.parametrize("order", ["mif", "lif"])
def test_curves_follow_every_possible_order(order: str) -> None:
    """On an additive model each of the 24 orders of 4 cells gives the running sum of what is left."""
    maps = torch.tensor(list(itertools.permutations([0.3, -0.2, 5.0, 1.0])))
    removed = maps.argsort(dim=1, descending=order == "mif")
    expected = C.sum() - torch.cat([torch.zeros(24, 1), C[removed].cumsum(1)], dim=1)
    torch.testing.assert_close(curve_of(additive(C), maps, Curve("mean", order, 5)).y, expected)  # type: ignore[arg-type]


def test_a_product_of_two_cells_falls_with_the_first_of_them() -> None:
    """A model that needs cells 0 and 3: rightly ordered, the answer falls at once, and reversed at the third step."""
    maps = torch.tensor([[4.0, 1.0, 2.0, 3.0]])
    assert curve_of(both(0, 3), maps, MIF).y.tolist() == [[1, 0, 0, 0, 0]]
    assert curve_of(both(0, 3), maps, LIF).y.tolist() == [[1, 1, 1, 0, 0]]


def test_curves_show_the_softmax_unless_the_model_says_logit() -> None:
    """With logits (f, 0) the probability is the logistic function of f."""
    run = a_pass(model(additive(C), output="softmax"), white(1))
    values = scene(run, 4).curves(maps_of_cells(C[None]), [MIF])[0][MIF]
    left = np.array([8.5, 4.5, 1.5, -1.0, 0.0])
    np.testing.assert_allclose(values.y[0], 1 / (1 + np.exp(-left)), rtol=1e-5)


def test_each_image_has_its_own_target() -> None:
    """The second logit of the toy is always 0, so where it is explained the curve is flat."""
    run = a_pass(additive(C), white(2))
    values = scene(run, 4, torch.tensor([0, 1])).curves(maps_of_cells(C.expand(2, 4)), [MIF])[0][MIF]
    torch.testing.assert_close(values.y, torch.tensor([[8.5, 4.5, 1.5, -1.0, 0.0], [0.0] * 5]))


def test_removing_least_first_read_backwards_is_insertion() -> None:
    """Cells put back most influential first, image by image in a plain loop, give the same values in reverse."""
    net, images = Pooled(), noise(3)
    run = a_pass(net, images)
    cells = torch.rand((3, 16), generator=torch.Generator().manual_seed(9))
    curve = Curve("mean", "lif", 17)
    values = scene(run, 16).curves(maps_of_cells(cells, 8), [curve])[0][curve]
    for row in range(3):
        canvas = torch.full((1, 3, 8, 8), 0.5)
        inserted = [net(canvas)[0, 0].item()]
        for cell in cells[row].argsort(descending=True).tolist():
            y, x = 2 * (cell // 4), 2 * (cell % 4)
            canvas[0, :, y : y + 2, x : x + 2] = images[row, :, y : y + 2, x : x + 2]
            inserted.append(net(canvas)[0, 0].item())
        np.testing.assert_allclose(values.y[row].flip(0), inserted, rtol=1e-4, atol=1e-5)


# Ties.


def all_tie_orders(cells: Tensor) -> list[list[int]]:
    """Every order of the cells from high to low that some breaking of ties gives."""
    rows = itertools.permutations(range(len(cells)))
    return [list(order) for order in rows if all(cells[a] >= cells[b] for a, b in itertools.pairwise(order))]


@pytest.mark.parametrize("order", ["mif", "lif"])
def test_ties_score_the_mean_over_all_their_orders(order: str) -> None:
    """All 81 maps of 4 cells with values 0, 1, 2: on an additive model the pair's area is that of full enumeration."""
    maps = torch.tensor(list(itertools.product([0.0, 1.0, 2.0], repeat=4)))
    areas = curve_of(additive(C), maps, Curve("mean", order, 5)).area()  # type: ignore[arg-type]
    for cells, area in zip(maps, areas, strict=True):
        every = []
        for path in all_tie_orders(cells):
            removed = C[path if order == "mif" else path[::-1]]
            left = C.sum() - torch.cat([torch.zeros(1), removed.cumsum(0)])
            every.append(np.trapezoid(left, dx=0.25))
        assert area.item() == pytest.approx(np.mean(every), abs=1e-5)


def test_the_two_orders_of_a_tie_are_each_other_s_reverse() -> None:
    """A constant map's two curves mirror each other, so both directions of removal see the same images."""
    maps = torch.full((5, 4), 0.7)
    torch.testing.assert_close(curve_of(both(0, 3), maps, MIF).y, curve_of(both(0, 3), maps, LIF).y, rtol=0, atol=0)


def test_orders_say_how_often_an_image_was_swept() -> None:
    """One order where all cells differ, two where any two are equal; the model is asked exactly that often."""
    run = a_pass(additive(C), white(3))
    cells = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0]])
    with run.meter.on(run.model.net):
        _, orders = scene(run, 4).curves(maps_of_cells(cells), [MIF, LIF])
    assert orders.tolist() == [1, 2, 2]
    assert run.meter.forwards == 3 + 3 + 2 * 3 * (1 + 2 + 2)


def test_a_tie_does_not_touch_the_other_images() -> None:
    """An image without ties has the same curve beside tied ones and alone."""
    cells = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 3.0, 4.0]])
    torch.testing.assert_close(curve_of(additive(C), cells, MIF).y[:1], curve_of(additive(C), cells[:1], MIF).y)


# Probes.


def test_a_probe_s_answers_are_the_falls_of_the_logit() -> None:
    """On an additive model the fall is the sum of the removed contributions, also where curves show the softmax."""
    masks = torch.tensor([[True, False, False, False], [False, True, True, False], [True] * 4])
    for output in ("logit", "softmax"):
        run = a_pass(model(additive(C), output=output), white(2))
        answers = scene(run, 4).answers(Probe("some", "mean", lambda _, n: masks))
        torch.testing.assert_close(answers.drops, torch.tensor([[4.0, 2.0, 8.5]] * 2))
        assert answers.removed.equal(masks.expand(2, 3, 4))


def test_every_image_may_have_its_own_masks() -> None:
    """Masks ``(B,M,n)`` are asked image by image."""
    run = a_pass(additive(C), white(2))
    masks = torch.eye(4, dtype=torch.bool)[:, None].repeat(1, 2, 1)[:2]
    answers = scene(run, 4).answers(Probe("own", "mean", lambda _, n: masks))
    torch.testing.assert_close(answers.drops, torch.tensor([[4.0, 4.0], [-1.0, -1.0]]))


# Chunks and batches.


@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_the_chunk_changes_no_curve(chunk: int) -> None:
    """Questions one by one or 64 at a time: the same curves and answers."""
    cells = torch.rand((3, 16), generator=torch.Generator().manual_seed(1)).round(decimals=1)
    found = []
    for size in (chunk, 64):
        run = a_pass(Pooled(), noise(3), chunk=size)
        prepared = scene(run, 16)
        curve = Curve("blur", "mif", 6)
        every = Probe("each", "blur", lambda _, n: torch.eye(n, dtype=torch.bool))
        found.append((prepared.curves(maps_of_cells(cells, 8), [curve])[0][curve].y, prepared.answers(every).drops))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_the_batch_changes_no_curve() -> None:
    """An image has the same curve alone as among others, ties included."""
    cells = torch.rand((4, 16), generator=torch.Generator().manual_seed(1)).round(decimals=1)
    run, curve = a_pass(Pooled(), noise(4)), Curve("mean", "lif", 6)
    whole = scene(run, 16).curves(maps_of_cells(cells, 8), [curve])[0][curve].y
    for row in range(4):
        one = run.alone(row)
        alone = scene(one, 16).curves(maps_of_cells(cells[row : row + 1], 8), [curve])[0][curve].y
        torch.testing.assert_close(alone[0], whole[row], rtol=1e-5, atol=1e-6)


def test_the_empty_image_is_asked_once() -> None:
    """All curves of one imputer share the answer to the image without any cell."""
    run = a_pass(Pooled(), noise(2))
    with run.meter.on(run.model.net):
        prepared = scene(run, 16)
        first, again = prepared.empty("mean"), prepared.empty("mean")
    assert first.equal(again)
    assert run.meter.forwards == 2 + 2
    torch.testing.assert_close(first, run.model.net(torch.full((2, 3, 8, 8), 0.5))[:, 0].detach())
