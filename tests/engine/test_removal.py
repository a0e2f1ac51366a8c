"""Curves over removed cells equal explicit loops; ties score their expectation; counts and chunks are exact."""

import itertools
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps
from mavis.core.metric_types import Curve, CurveValues, MaskProbe, SoftMasking, even_fractions
from mavis.engine.removal import removal_counts

from ..toys import (
    Pooled,
    additive,
    conjunction,
    make_model,
    make_pass,
    maps_from_cells,
    random_images,
    removal_session,
    sweep_curves,
    white_images,
)

C = torch.tensor([4.0, -1.0, 3.0, 2.5])
MIF = Curve("mean", "mif", even_fractions(5))
LIF = Curve("mean", "lif", even_fractions(5))


def curve_of(net: torch.nn.Module, cells: Tensor, curve: Curve) -> CurveValues:
    """The curve of each row of cell values, on one white image per row."""
    run = make_pass(net, white_images(len(cells)))
    return sweep_curves(run, maps_from_cells(cells), [curve])[curve]


# Which cells, how many.


@pytest.mark.parametrize(("cells", "points"), [(256, 11), (256, 21), (4, 5), (4, 9), (49, 11), (9, 3), (256, 101)])
def test_counts_are_rounded_halves_up(cells: int, points: int) -> None:
    """k = q·n for q evenly from 0 to 1, rounded as by hand (decimal arithmetic, halves up)."""
    exact = [Decimal(cells) * i / (points - 1) for i in range(points)]
    expected = [int(k.quantize(Decimal(1), rounding=ROUND_HALF_UP)) for k in exact]
    assert removal_counts(torch.tensor([cells]), even_fractions(points))[0].tolist() == expected


def test_counts_of_the_protocol() -> None:
    """Of 256 cells, eleven points remove these; the abscissa is the share really removed, not 0.1, 0.2 …"""
    counts = [0, 26, 51, 77, 102, 128, 154, 179, 205, 230, 256]
    assert removal_counts(torch.tensor([256]), even_fractions(11))[0].tolist() == counts
    run = make_pass(additive(torch.ones(256)), white_images(1, 16))
    curve = Curve("mean", "mif", even_fractions(11))
    values = sweep_curves(run, maps_from_cells(torch.arange(256.0)[None], 16), [curve])[curve]
    torch.testing.assert_close(values.x, torch.tensor([counts]) / 256)
    torch.testing.assert_close(values.y[0], 256 - torch.tensor(counts).float())


@pytest.mark.parametrize("order", ["mif", "lif"])
def test_curves_follow_every_possible_order(order: str) -> None:
    """On an additive model each of the 24 orders of 4 cells gives the running sum of what is left."""
    maps = torch.tensor(list(itertools.permutations([0.3, -0.2, 5.0, 1.0])))
    removed = maps.argsort(dim=1, descending=order == "mif")
    expected = C.sum() - torch.cat([torch.zeros(24, 1), C[removed].cumsum(1)], dim=1)
    torch.testing.assert_close(curve_of(additive(C), maps, Curve("mean", order, even_fractions(5))).y, expected)  # type: ignore[arg-type]


def test_a_product_of_two_cells_falls_with_the_first_of_them() -> None:
    """A model that needs cells 0 and 3: rightly ordered, the answer falls at once, and reversed at the third step."""
    maps = torch.tensor([[4.0, 1.0, 2.0, 3.0]])
    assert curve_of(conjunction(0, 3), maps, MIF).y.tolist() == [[1, 0, 0, 0, 0]]
    assert curve_of(conjunction(0, 3), maps, LIF).y.tolist() == [[1, 1, 1, 0, 0]]


def test_curves_show_the_softmax_unless_the_model_says_logit() -> None:
    """With logits (f, 0) the probability is the logistic function of f."""
    run = make_pass(make_model(additive(C), output="softmax"), white_images(1))
    values = sweep_curves(run, maps_from_cells(C[None]), [MIF])[MIF]
    left = np.array([8.5, 4.5, 1.5, -1.0, 0.0])
    np.testing.assert_allclose(values.y[0], 1 / (1 + np.exp(-left)), rtol=1e-5)


def test_each_image_has_its_own_target() -> None:
    """The second logit of the toy is always 0, so where it is explained the curve is flat."""
    run = make_pass(additive(C), white_images(2))
    values = sweep_curves(run, maps_from_cells(C.expand(2, 4)), [MIF], torch.tensor([0, 1]))[MIF]
    torch.testing.assert_close(values.y, torch.tensor([[8.5, 4.5, 1.5, -1.0, 0.0], [0.0] * 5]))


def test_removing_least_first_read_backwards_is_insertion() -> None:
    """Cells put back most influential first, image by image in a plain loop, give the same values in reverse."""
    net, images = Pooled(), random_images(3)
    run = make_pass(net, images)
    cells = torch.rand((3, 16), generator=torch.Generator().manual_seed(9))
    curve = Curve("mean", "lif", even_fractions(17))
    values = sweep_curves(run, maps_from_cells(cells, 8), [curve])[curve]
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
    areas = curve_of(additive(C), maps, Curve("mean", order, even_fractions(5))).area()  # type: ignore[arg-type]
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
    torch.testing.assert_close(
        curve_of(conjunction(0, 3), maps, MIF).y, curve_of(conjunction(0, 3), maps, LIF).y, rtol=0, atol=0
    )


def test_a_second_order_is_asked_only_where_it_removes_other_cells() -> None:
    """Three counts of four cells: none lies among equal values, one (the last under MIF, the first under LIF), all."""
    run = make_pass(additive(C), white_images(3))
    cells = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0]])
    with run.meter.attach(run.model.net):
        made = removal_session(run, 4)
        ordered = made.removal_order(maps_from_cells(cells))
        made.sweep(ordered, [MIF])
        made.sweep(ordered, [LIF])
    assert ordered.orders_differ("mif", ordered.counts([0.25, 0.5, 0.75])).tolist() == [
        [False] * 3,
        [False, False, True],
        [True] * 3,
    ]
    assert ordered.orders_differ("lif", ordered.counts([0.25, 0.5, 0.75])).tolist() == [
        [False] * 3,
        [True, False, False],
        [True] * 3,
    ]
    assert ordered.n_samples([MIF]).tolist() == ordered.n_samples([LIF]).tolist() == [3, 3 + 1, 3 + 3]
    assert run.meter.forwards == 3 + 3 + 2 * (3 + 4 + 6)


def test_a_tie_does_not_touch_the_other_images() -> None:
    """An image without ties has the same curve beside tied ones and alone."""
    cells = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 3.0, 4.0]])
    torch.testing.assert_close(curve_of(additive(C), cells, MIF).y[:1], curve_of(additive(C), cells[:1], MIF).y)


# Probes.


def test_a_probe_s_answers_are_the_falls_of_the_logit() -> None:
    """On an additive model the fall is the sum of the removed contributions, also where curves show the softmax."""
    masks = torch.tensor([[True, False, False, False], [False, True, True, False], [True] * 4])
    for output in ("logit", "softmax"):
        run = make_pass(make_model(additive(C), output=output), white_images(2))
        answers = removal_session(run, 4).probe_outputs(MaskProbe("some", "mean", lambda _, n: masks))
        torch.testing.assert_close(answers.drops, torch.tensor([[4.0, 2.0, 8.5]] * 2))
        assert answers.removed.equal(masks.expand(2, 3, 4))


def test_every_image_may_have_its_own_masks() -> None:
    """Masks ``(B,M,n)`` are asked image by image."""
    run = make_pass(additive(C), white_images(2))
    masks = torch.eye(4, dtype=torch.bool)[:, None].repeat(1, 2, 1)[:2]
    answers = removal_session(run, 4).probe_outputs(MaskProbe("own", "mean", lambda _, n: masks))
    torch.testing.assert_close(answers.drops, torch.tensor([[4.0, 4.0], [-1.0, -1.0]]))


# Chunks and batches.


@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_the_chunk_changes_no_curve(chunk: int) -> None:
    """Questions one by one or 64 at a time: the same curves and answers."""
    cells = torch.rand((3, 16), generator=torch.Generator().manual_seed(1)).round(decimals=1)
    found = []
    for size in (chunk, 64):
        run = make_pass(Pooled(), random_images(3), chunk=size)
        prepared = removal_session(run, 16)
        curve = Curve("blur", "mif", even_fractions(6))
        every = MaskProbe("each", "blur", lambda _, n: torch.eye(n, dtype=torch.bool))
        ordered = prepared.removal_order(maps_from_cells(cells, 8))
        found.append((prepared.sweep(ordered, [curve])[curve].y, prepared.probe_outputs(every).drops))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_the_batch_changes_no_curve() -> None:
    """An image has the same curve alone as among others, ties included."""
    cells = torch.rand((4, 16), generator=torch.Generator().manual_seed(1)).round(decimals=1)
    run, curve = make_pass(Pooled(), random_images(4)), Curve("mean", "lif", even_fractions(6))
    whole = sweep_curves(run, maps_from_cells(cells, 8), [curve])[curve].y
    for row in range(4):
        one = run.single_image(row)
        alone = sweep_curves(one, maps_from_cells(cells[row : row + 1], 8), [curve])[curve].y
        torch.testing.assert_close(alone[0], whole[row], rtol=1e-5, atol=1e-6)


def test_the_empty_image_is_asked_once() -> None:
    """All curves of one imputer share the answer to the image without any cell."""
    run = make_pass(Pooled(), random_images(2))
    with run.meter.attach(run.model.net):
        prepared = removal_session(run, 16)
        first, again = prepared.empty_outputs("mean"), prepared.empty_outputs("mean")
    assert first is again
    assert run.meter.forwards == 2
    torch.testing.assert_close(first.y, run.model.net(torch.full((2, 3, 8, 8), 0.5))[:, 0].detach())


# Sharing one sweep.


def test_curves_of_other_fractions_share_one_sweep() -> None:
    """Curves with 3, 5 and 9 points cost the union of their points, and each has the values it has alone."""
    run = make_pass(additive(torch.arange(16.0)), white_images(2, 8))
    cells = torch.rand((2, 16), generator=torch.Generator().manual_seed(3))
    curves = [Curve("mean", "mif", even_fractions(points)) for points in (3, 5, 9)]
    alone = [sweep_curves(run, maps_from_cells(cells, 8), [curve])[curve] for curve in curves]
    with run.meter.attach(run.model.net):
        shared = sweep_curves(run, maps_from_cells(cells, 8), curves)
    assert run.meter.forwards == 2 * (1 + 7)  # the empty image and the points between; the pass has the whole one
    for curve, one in zip(curves, alone, strict=True):
        torch.testing.assert_close(shared[curve].y, one.y, rtol=0, atol=0)
        torch.testing.assert_close(shared[curve].x, one.x, rtol=0, atol=0)


def test_a_curve_may_leave_out_its_ends() -> None:
    """Fractions need not begin at 0 nor end at 1; no empty image is asked then."""
    run = make_pass(additive(C), white_images(1))
    curve = Curve("mean", "mif", (0.5, 0.75))
    with run.meter.attach(run.model.net):
        values = sweep_curves(run, maps_from_cells(C[None]), [curve])[curve]
    assert values.x.tolist() == [[0.5, 0.75]]
    assert values.y.tolist() == [[1.5, -1.0]]
    assert run.meter.forwards == 2


def test_kept_says_where_the_prediction_still_is_the_target() -> None:
    """With logits (f, 0) the target 0 is predicted while f is above 0; a tie of two orders gives halves."""
    run = make_pass(additive(torch.tensor([2.0, -1.0, -1.0, 1.0])), white_images(1))
    curve = Curve("mean", "mif", even_fractions(5))
    first = torch.tensor([[4.0, 1.0, 2.0, 3.0]])
    assert sweep_curves(run, maps_from_cells(first), [curve])[curve].top1.tolist() == [[1, 0, 0, 0, 1]]
    halves = sweep_curves(run, maps_from_cells(torch.ones(1, 4)), [curve])[curve].top1[0, 1:4]
    assert set(halves.tolist()) <= {0.0, 0.5, 1.0}


# Segments and fading.


def test_segments_are_removed_by_their_mean_value() -> None:
    """On an image of four flat quarters the superpixels go in the order of the map's means over them."""
    image = torch.tensor([[0.9, 0.2], [0.4, 0.7]]).repeat_interleave(32, 0).repeat_interleave(32, 1)
    run = make_pass(Pooled(), image.expand(1, 3, 64, 64).clone())
    made = removal_session(run, 16)
    labels, units = made.units("segment").ids, made.units("segment").n_units
    assert units.item() > 4
    values = torch.rand((1, 64, 64), generator=torch.Generator().manual_seed(2))
    ordered = made.removal_order(Maps.from_values(values, 4), "segment")
    means = torch.stack([values[0][labels[0] == k].mean() for k in range(units.item())])
    expected = means.argsort(descending=True).argsort()[labels[0]]
    assert ordered.rank[0].long().equal(expected)


def test_a_segment_curve_does_not_depend_on_the_batch() -> None:
    """Images with other numbers of superpixels beside it change nothing, ties included."""
    images = random_images(3, 32)
    images[1] = 0.5
    curve = Curve("mean", "mif", even_fractions(6), "segment")
    cells = torch.rand((3, 16), generator=torch.Generator().manual_seed(1)).round(decimals=1)
    run = make_pass(Pooled(), images)
    whole = sweep_curves(run, maps_from_cells(cells, 32), [curve])[curve]
    for row in range(3):
        alone = sweep_curves(run.single_image(row), maps_from_cells(cells[row : row + 1], 32), [curve])[curve]
        torch.testing.assert_close(alone.y[0], whole.y[row], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(alone.x[0], whole.x[row])


def test_fading_weighs_the_image_by_the_scaled_map() -> None:
    """On an additive model each cell keeps the share of its contribution that the map, scaled to [0,1], gives it."""
    run = make_pass(additive(C), white_images(2))
    maps = maps_from_cells(torch.tensor([[10.0, 20.0, 20.0, 15.0], [3.0, 3.0, 3.0, 3.0]]))
    values = sweep_curves(run, maps, [SoftMasking("mean")])[SoftMasking("mean")]
    torch.testing.assert_close(values.y, torch.tensor([[8.5, -1.0 + 3.0 + 1.25], [8.5, 0.0]]))
