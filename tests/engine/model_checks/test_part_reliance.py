"""Which parts a model uses: the closed form on hand-wired models, and what follows for localisation."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from mavis.analysis.groups import BootstrapSettings
from mavis.analysis.model_validity import assess_part_reliance, has_verified_truth
from mavis.core.registry import explainers, metrics
from mavis.core.types import PART_CODES, Batch
from mavis.engine.execution import block
from mavis.engine.execution.explain import ModelTask
from mavis.engine.model_checks.part_reliance import COLUMNS, measure_reliance, part_region
from mavis.engine.planning.plan import Block, Cell, Component, Components
from mavis.protocol import loading
from mavis.protocol.schema import RelianceRules

from ...toys import GREY, StoredBatch, make_model

RULES = BootstrapSettings(("race",), 2, 200, 0.95, 0)
LIMITS = RelianceRules(draws=2, min_share=0.25)
QUICK = loading.load_protocol("quick").model_copy(update={"reliance": LIMITS})
SIDE = 10
"""Each part is a row of so many pixels."""


def planted(count: int) -> Batch:
    """Grey images, one row per part; drawing a part anew, for the n-th time, adds (n + 1)/10 to it in image 0, 2 …, and
    takes it away in the others."""
    rows = torch.arange(SIDE, dtype=torch.uint8)[:, None].expand(SIDE, SIDE)
    parts = rows.expand(count, -1, -1)
    images = torch.full((count, 3, SIDE, SIDE), 0.5)
    sign = torch.tensor([1.0, -1.0]).repeat(count)[:count, None, None, None]

    def rerender(part: str, number: int) -> Tensor:
        return images + sign * (parts == PART_CODES[part])[:, None] * (number + 1) / 10

    ids = tuple(f"planted/{k}" for k in range(count))
    labels = torch.zeros(count, dtype=torch.int64)
    return Batch(images, labels, ids, parts=parts, regions=parts == 4, rerender=rerender)


class PartSum(nn.Module):
    """Logit 0: a weighted sum of the means of the parts; logit 1: −9."""

    def __init__(self, **weights: float) -> None:
        super().__init__()
        self.weights = torch.tensor([weights.get(part, 0.0) for part in PART_CODES])

    def forward(self, images: Tensor) -> Tensor:
        total = images.mean((1, 3)) @ self.weights
        return torch.stack([total, torch.full_like(total, -9.0)], 1)


def measured(net: nn.Module, count: int = 6, chunk: int = 64, rules: object = QUICK, **sample: object) -> pd.DataFrame:
    batch = planted(count)
    drawn = {
        "ids": batch.ids,
        "variant_ids": frozenset(batch.ids),
        "data": StoredBatch(batch),
        "can_rerender": True,
        **sample,
    }
    made = make_model(net, classes=("yes", "no"))
    return measure_reliance(made, SimpleNamespace(**drawn), rules, chunk)  # type: ignore[arg-type]


def found(net: nn.Module, limits: RelianceRules = LIMITS, count: int = 6):
    images = pd.DataFrame({"race": ["x", "y"] * (count // 2)}, index=[f"planted/{k}" for k in range(count)])
    return {one.part: one for one in assess_part_reliance(measured(net, count), images, RULES, limits)}


def test_a_part_sum_moves_by_its_weights() -> None:
    """Draws of ±.1 and ±.2 move a logit of weight w by w·.15 in the mean; parts without a weight by nothing."""
    changes = {part: one.change for part, one in found(PartSum(eyes=4.0, mouth=-2.0, hair=0.5)).items()}
    assert list(changes) == list(PART_CODES)
    expected = {"eyes": 0.6, "mouth": 0.3, "hair": 0.075}
    for part, change in changes.items():
        assert change.mean == pytest.approx(expected.get(part, 0.0), abs=1e-6)
        assert (change.low, change.high) == (pytest.approx(change.mean, abs=1e-6),) * 2


def test_used_is_what_exceeds_the_share() -> None:
    """.5/4 of the largest change is below a quarter and above a tenth of it; the sign of the weight is not asked."""
    net = PartSum(eyes=4.0, mouth=-2.0, hair=0.5)
    assert {part for part, one in found(net).items() if one.used} == {"eyes", "mouth"}
    least = RelianceRules(min_share=0.1)
    assert {part for part, one in found(net, least).items() if one.used} == {"eyes", "mouth", "hair"}


def test_what_varies_much_between_images_is_not_shown_to_be_used() -> None:
    """A part that moves the logit of few images only has a lower end below the share."""
    rows = [(f"planted/{k}", part, v) for k in range(40) for part, v in (("eyes", 1.0), ("nose", 12.0 * (k == 0)))]
    table = pd.DataFrame(rows, columns=["image", "part", "change"])
    images = pd.DataFrame({"race": "x"}, index=[f"planted/{k}" for k in range(40)])
    by = {one.part: one for one in assess_part_reliance(table, images, RULES, LIMITS)}
    assert by["nose"].change.mean == pytest.approx(0.3)
    assert (by["eyes"].used, by["nose"].used) == (True, False)


def test_the_batch_changes_nothing() -> None:
    """One image at a time or all together."""
    net = PartSum(eyes=1.0)
    key = ["image", "part"]
    one, all_ = (measured(net, 5, chunk).sort_values(key, ignore_index=True) for chunk in (1, 64))
    pd.testing.assert_frame_equal(one, all_)


def test_only_the_varied_images_are_asked() -> None:
    """Those on which maps are made again; none where the protocol does not ask or the parts cannot be drawn."""
    few = measured(PartSum(eyes=1.0), variant_ids=frozenset({"planted/1", "planted/3"}))
    assert set(few["image"]) == {"planted/1", "planted/3"}
    assert len(few) == 2 * len(PART_CODES)
    for empty in (
        measured(PartSum(eyes=1.0), rules=QUICK.model_copy(update={"reliance": None})),
        measured(PartSum(eyes=1.0), can_rerender=False),
    ):
        assert empty.empty
        assert list(empty.columns) == COLUMNS


def test_the_region_is_that_of_the_used_parts() -> None:
    """The pixels of both, and of no other; no parts, no region."""
    batch = planted(2)
    expected = torch.isin(batch.parts, torch.tensor([PART_CODES["eyes"], PART_CODES["mouth"]]))
    assert torch.equal(part_region(batch, ("eyes", "mouth")), expected)
    assert not part_region(batch, ()).any()
    assert part_region(Batch(batch.images, batch.labels, batch.ids), ("eyes",)) is None


@pytest.mark.parametrize(("truth", "expected"), [(None, 0.0), (("mouth",), 1.0), (("mouth", "eyes"), 1.0)])
def test_localisation_reads_the_region_of_a_job(truth: tuple[str, ...] | None, expected: float) -> None:
    """All mass of a map of the mouth is on the parts in use, none on the eyes, which carry the label."""
    batch = planted(2)
    mouth = Component(
        "mouth", {}, explainers["random"].traits, lambda run, _: part_region(run.batch, ("mouth",))[:, None].float()
    )
    mass = Component("relevance_mass", {}, metrics["relevance_mass"].traits, metrics["relevance_mass"].create())
    made = make_model(PartSum(), classes=("yes", "no"))
    line, targets = Components((mouth,), (mass,)), dict.fromkeys(batch.ids, 0)
    job = ModelTask(made, StoredBatch(batch), line, targets, GREY, 0, 5, 64, used_parts=truth)  # type: ignore[arg-type]
    cells = (Cell("cell", "mouth", "relevance_mass", None),)
    rows = block.run_block(job, Block("block", made.name, batch.ids, cells, has_variants=True)).scores
    assert rows["value"].tolist() == [expected] * 2


def test_truth_is_verified_by_parts_used_and_not_used() -> None:
    """Some used and some not; all or none leave nothing to point at; unmeasured is unknown."""
    some = tuple(found(PartSum(eyes=1.0)).values())
    assert has_verified_truth(some) is True
    assert has_verified_truth(tuple(found(PartSum(**dict.fromkeys(PART_CODES, 1.0))).values())) is False
    assert has_verified_truth(tuple(found(PartSum()).values())) is False
    assert has_verified_truth(()) is None
