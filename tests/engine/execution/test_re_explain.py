"""Variants in a run: each explained once for all metrics and explainers, what is compared with what, and what fails."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from mavis.core.metric_types import Explanation, VariantMetric, collect_variants
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import Flip, Noise, OtherClass, Replicate, Smoothed, Variant
from mavis.core.registry import explainers, metrics
from mavis.core.types import Batch, Model
from mavis.engine.execution import block
from mavis.engine.execution.explain import ModelTask
from mavis.engine.execution.re_explain import reduce_draws
from mavis.engine.planning.plan import Block, Cell, Component, Components
from mavis.engine.store import BlockResult

from ...toys import GREY, Pooled, make_batch, make_explainer, make_model, random_images

SHARED = ("saliency", "input_x_gradient")
"""Explainers that read one forward and one backward between them."""


class Stored:
    """As much of a data set as `execute` asks for."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def load(self, ids: Sequence[str]) -> Batch:
        rows = [self.batch.ids.index(i) for i in ids]
        return Batch(self.batch.images[rows], self.batch.labels[rows], tuple(ids))


@dataclass
class Told:
    """What happens to an explainer: every call's images, variant and classes."""

    calls: list[Pass] = field(default_factory=list)
    classes: list[Tensor] = field(default_factory=list)
    fails: Callable[[Pass], bool] = lambda _: False

    def part(self, name: str = "told", like: str = "sobel") -> Component:
        """An explainer that notes its calls, and returns the images."""
        return Component(name, {}, explainers[like].traits, self)

    def __call__(self, run: Pass, targets: Tensor) -> Tensor:
        self.calls.append(run)
        self.classes.append(targets)
        if self.fails(run):
            raise RuntimeError("broken on purpose")
        return run.images

    @property
    def variants(self) -> list[str]:
        return [run.variant_name for run in self.calls]


def measure(name: str, **params: object) -> Component:
    """A registered metric, made."""
    return Component(name, params, metrics[name].traits, metrics[name].create(params))


def metric(name: str, made: VariantMetric) -> Component:
    """A metric of one's own."""
    return Component(name, {}, metrics["avg_sensitivity"].traits, made)


def change(before: Explanation, after: Explanation) -> Tensor:
    """Mean absolute difference of two maps, ``(B,)``."""
    return (after.maps.values - before.maps.values).abs().mean((1, 2))


def run_of(
    line: Components, *, images: Tensor | None = None, chunk: int = 64, made: Model | None = None,
    skipped: Mapping[str, str] | None = None,
) -> BlockResult:  # fmt: skip
    """One block of images, as a run does it; ``skipped`` gives the reason by metric."""
    batch = make_batch(random_images(6) if images is None else images)
    made = made or make_model(Pooled(), cam_layer="relu")
    job = ModelTask(made, Stored(batch), line, dict.fromkeys(batch.ids, 0), GREY, 0, 4, chunk)  # type: ignore[arg-type]
    reasons = skipped or {}
    cells = tuple(
        Cell(f"{e.name}/{m.name}", e.name, m.name, reasons.get(m.name)) for e in line.explainers for m in line.metrics
    )
    return block.run_block(job, Block("block", made.name, batch.ids, cells, has_variants=True))


def scores(result: BlockResult) -> pd.DataFrame:
    """A column per metric; index explainer and image. Fails if any cell has two rows."""
    return result.scores.pivot(index=["explainer", "image"], columns="metric", values="value")


def statuses(result: BlockResult) -> dict[tuple[str, str], str]:
    """The one status of each explainer and metric, every image having exactly one row."""
    rows = result.scores
    assert not rows.duplicated(["explainer", "metric", "image"]).any()
    found = rows.groupby(["explainer", "metric"])["status"].unique()
    return {key: one for key, (one,) in found.items()}


# Shared.


def counts(names: Sequence[str], *wanted: Component, **settings: object) -> tuple[int, int]:
    """Samples forward and backward, counted by hooks on the nets, of 6 images."""
    log = run_of(Components(tuple(make_explainer(name) for name in names), wanted), **settings).log  # type: ignore[arg-type]
    assert not log.failures
    return log.forwards, log.backwards


NOISE = (
    *("avg_sensitivity", "max_sensitivity", "avg_sensitivity_normalised", "local_lipschitz", "consistency"),
    *("relative_input_stability", "relative_output_stability", "relative_representation_stability"),
)
NOISY = [measure(name, draws=3) for name in NOISE]


@pytest.mark.parametrize("names", [SHARED[:1], SHARED])
@pytest.mark.parametrize("wanted", [NOISY[:1], NOISY], ids=["one metric", "eight metrics"])
def test_noisy_copies_are_explained_once(names: tuple[str, ...], wanted: list[Component]) -> None:
    """Three draws and the image are four forwards and four backwards an image, for one metric or eight, one or two
    explainers that share a backward.
    """
    assert counts(names, *wanted) == (6 * 4, 6 * 4)


def test_more_draws_contain_the_fewer() -> None:
    """Metrics with two, three and four draws take four."""
    wanted = [replace(measure("avg_sensitivity", draws=n), name=f"avg_sensitivity@{n}") for n in (2, 3, 4)]
    assert counts(SHARED, *wanted) == (6 * 5, 6 * 5)


def test_randomised_models_are_explained_once() -> None:
    """Full randomisation serves MPRT, its entropy and the end of both cascades; of two layers one each is left."""
    wanted = [measure(name) for name in ("mprt", "efficient_mprt", "mprt_top_down", "mprt_bottom_up")]
    assert counts(SHARED, *wanted) == (6 * (1 + 1 + 1 + 1), 6 * (1 + 1 + 1 + 1))


def test_smoothing_takes_its_samples_twice() -> None:
    """Five noisy copies for the trained model and five for the randomised one; the second explainer adds nothing."""
    assert counts(SHARED, measure("smooth_mprt", samples=5)) == (6 * (1 + 5 + 5), 6 * (1 + 5 + 5))


def test_another_class_needs_no_forward() -> None:
    """It is the same pass: two draws of the class are two backwards more."""
    assert counts(SHARED, measure("random_logit", draws=2)) == (6, 6 * 3)


def test_a_replicate_costs_only_those_who_draw() -> None:
    """SmoothGrad's four copies are taken again, the gradient is not."""
    assert counts(["saliency"], measure("replicate_agreement", repeats=3)) == (6, 6)
    smooth = make_explainer("smoothgrad", samples=4)
    log = run_of(Components((smooth, make_explainer("saliency")), (measure("replicate_agreement"),))).log
    assert (log.forwards, log.backwards) == (6 * (4 + 4 + 1), 6 * (4 + 4 + 1))


def test_each_variant_is_one_pass_for_all_explainers() -> None:
    """Both explainers are given the same pass, once, on the image and under each variant."""
    first, second = Told(), Told()
    line = Components(
        (first.part("first"), second.part("second")), (measure("avg_sensitivity"), measure("flip_equivariance"))
    )
    run_of(line)
    assert first.variants == ["", *(Noise(8 / 255, n).key for n in range(3)), Flip().key]
    assert all(a is b for a, b in zip(first.calls, second.calls, strict=True))


def test_a_model_is_randomised_once_for_all_batches() -> None:
    """Six images one by one are explained on one and the same randomised net, smoothed or not."""
    told = Told()
    run_of(Components((told.part(),), (measure("mprt"), measure("smooth_mprt", samples=2))), chunk=1)
    drawn = {id(run.model.net) for run in told.calls if "Randomised" in run.variant_name}
    assert len(drawn) == 1
    assert len(told.calls) == 6 * (1 + 1 + 2 + 2)


def test_a_cell_is_charged_its_own_variants() -> None:
    """Whoever shares: a metric's rows say what it alone would have cost, one forward and backward per variant."""
    expected = {"avg_sensitivity": 3, "mprt": 1, "smooth_mprt": 16, "random_logit": 1, "replicate_agreement": 0}
    rows = run_of(
        Components(tuple(make_explainer(name) for name in SHARED), tuple(measure(name) for name in expected))
    ).scores
    for name, count in expected.items():
        own = rows[rows["metric"] == name]
        assert set(own["forwards"]) == {count}
        assert set(own["backwards"]) == {count}


# What is compared.


def test_before_is_the_image_and_after_the_variant() -> None:
    """Both come with their maps, pass and classes; the pass of the variant has other images and its own name."""
    seen = []

    def compare(before: Explanation, after: Explanation) -> Tensor:
        seen.append((before, after))
        return change(before, after)

    told = Told()
    run_of(Components((told.part(),), (metric("m", VariantMetric([Noise(0.1, 0), OtherClass(0)], compare)),)))
    (before, noisy), (same, other) = seen
    assert (before.model_pass, noisy.model_pass, other.model_pass) == tuple(told.calls)
    assert before is not same
    assert same.model_pass is before.model_pass is other.model_pass
    assert noisy.maps.values.equal(noisy.model_pass.images.sum(1))
    assert (before.model_pass.variant_name, noisy.model_pass.variant_name) == ("", Noise(0.1, 0).key)
    assert noisy.targets.tolist() == before.targets.tolist() == [0] * 6
    assert other.targets.equal(OtherClass(0).targets(before.model_pass, before.targets))
    assert told.classes[2] is other.targets


def test_against_another_variant() -> None:
    """Maps are compared with those of the variant that the metric names; it is explained first and scores nothing."""
    told, seen = Told(), []

    def compare(before: Explanation, after: Explanation) -> Tensor:
        seen.append((before.model_pass.variant_name, after.model_pass.variant_name))
        return change(before, after)

    made = VariantMetric([Noise(0.1, 0), Noise(0.1, 1)], compare, base_variant=Flip())
    plain = VariantMetric([Noise(0.1, 0), Flip()], change)
    result = run_of(Components((told.part(),), (metric("plain", plain), metric("made", made))))
    assert told.variants == ["", *(v.key for v in (Flip(), Noise(0.1, 0), Noise(0.1, 1)))]
    assert seen == [(Flip().key, Noise(0.1, n).key) for n in (0, 1)]
    run = told.calls[0]
    flipped, *noisy = (next(v.batches(run)).images.sum(1) for v in (Flip(), Noise(0.1, 0), Noise(0.1, 1)))
    expected = torch.stack([(n - flipped).abs().mean((1, 2)) for n in noisy]).mean(0)
    torch.testing.assert_close(torch.tensor(scores(result)["made"].to_numpy()).float(), expected)


def test_the_maps_of_a_variant_s_batches_are_averaged() -> None:
    """The map under smoothing is the mean over its noisy copies."""
    seen = []
    made = VariantMetric([Smoothed(Variant(), 4, 0.1)], lambda _, after: seen.append(after) or after.maps.cells[:, 0])
    told = Told()
    run_of(Components((told.part(),), (metric("m", made),)))
    mean = torch.stack([run.images.sum(1) for run in told.calls[1:]]).mean(0)
    torch.testing.assert_close(seen[0].maps.values, mean)


def test_variants_may_depend_on_the_model() -> None:
    """A function of the model is asked for them."""
    made = VariantMetric(lambda model: [Noise(0.1, n) for n in range(len(model.classes))], change)
    told = Told()
    assert statuses(run_of(Components((told.part(),), (metric("m", made),)))) == {("told", "m"): "ok"}
    assert told.variants == ["", *(Noise(0.1, n).key for n in range(3))]


def test_no_variant_is_no_value() -> None:
    """A metric that finds nothing to ask of this model is undefined, not lost."""
    result = run_of(Components((Told().part(),), (metric("m", VariantMetric(lambda _: [], change)),)))
    assert statuses(result) == {("told", "m"): "undefined"}
    assert not result.log.failures


def test_replicates_have_another_seed() -> None:
    """An explainer that draws is run under the replicate's seed, all others of its numbers being the run's."""
    told = Told()
    made = VariantMetric([Replicate(0), Replicate(1), Noise(0.1, 0)], change)
    run_of(Components((told.part(like="smoothgrad"),), (metric("m", made),)))
    assert [run.seed for run in told.calls] == [0, Replicate(0).seed(0), Replicate(1).seed(0), 0]


@pytest.mark.parametrize("chunk", [1, 4])
def test_scores_do_not_depend_on_the_batch(chunk: int) -> None:
    """Every kind of variant gives each image the same score in any batch."""
    robust = ("avg_sensitivity", "consistency", "flip_equivariance", "input_invariance", "replicate_agreement")
    random = ("mprt", "mprt_top_down", "smooth_mprt", "efficient_mprt", "random_logit")
    wanted = tuple(measure(name) for name in (*robust, *random))
    line = Components(
        (make_explainer("saliency"), make_explainer("smoothgrad", samples=2), make_explainer("random")), wanted
    )
    whole, parts = scores(run_of(line)), scores(run_of(line, chunk=chunk))
    pd.testing.assert_frame_equal(parts.loc[whole.index], whole, rtol=1e-5, atol=1e-6)


# Reduced to one value.


def test_draws_without_a_value_are_left_out() -> None:
    """Mean, largest and median over the draws that have one; none if none has."""
    nan = torch.nan
    draws = torch.tensor([[1.0, nan, nan, -5], [3, 2, nan, nan], [8, nan, nan, -7]])
    expected = {"mean": [4, 2, nan, -6], "max": [8, 2, nan, -5], "median": [3, 2, nan, -6]}
    for how, values in expected.items():
        torch.testing.assert_close(reduce_draws(draws, how), torch.tensor(values), equal_nan=True)


def test_the_median_is_used_where_asked() -> None:
    """A metric's own reduction is applied over its variants."""
    values = {Noise(0.1, n).key: float(v) for n, v in enumerate((1, 2, 9))}

    def compare(_: Explanation, after: Explanation) -> Tensor:
        return torch.full((6,), values[after.model_pass.variant_name])

    variants = [Noise(0.1, n) for n in range(3)]
    wanted = tuple(metric(how, VariantMetric(variants, compare, how)) for how in ("mean", "max", "median"))  # type: ignore[arg-type]
    found = scores(run_of(Components((Told().part(),), wanted))).iloc[0]
    assert found.to_dict() == {"mean": 4, "max": 9, "median": 2}


def test_variants_with_another_prediction_are_left_out_if_asked() -> None:
    """Only the draws under which the model says the same class count, image by image."""

    class Bright(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.stack([images.mean((1, 2, 3)), torch.full((len(images),), 0.5)], dim=1)

    images = torch.full((40, 3, 4, 4), 0.501)
    told = Told()
    made = [VariantMetric([Noise(0.3, n) for n in range(2)], change, same_prediction=same) for same in (True, False)]
    result = run_of(
        Components((told.part(),), (metric("same", made[0]), metric("any", made[1]))),
        images=images,
        made=make_model(Bright()),
    )
    original, *noisy = told.calls
    moved = torch.stack([(run.images - original.images).sum(1).abs().mean((1, 2)) for run in noisy])
    kept = torch.stack([run.images.mean((1, 2, 3)) >= 0.5 for run in noisy])
    found = {
        name: torch.tensor(values.to_numpy()).float()
        for name, values in scores(result).loc["told"].loc[list(original.ids)].items()
    }
    torch.testing.assert_close(found["any"], moved.mean(0))
    torch.testing.assert_close(found["same"], moved.where(kept, torch.nan).nanmean(0), equal_nan=True)
    assert found["same"].isnan().any()
    assert not kept.all(0).all()


def test_what_others_are_compared_with_comes_first() -> None:
    """Equal variants are one, and every ``against`` precedes what is compared with it."""
    one = VariantMetric([Noise(0.1, 0), Flip()], change)
    two = VariantMetric([Noise(0.1, 1), Noise(0.1, 0)], change, base_variant=Flip())
    assert collect_variants([one, two], make_model(Pooled())) == [Flip(), Noise(0.1, 0), Noise(0.1, 1)]


# What fails.


def failing(metrics: Sequence[Component], fails: Callable[[Pass], bool], **settings: object) -> BlockResult:
    """A broken explainer beside one that works."""
    broken = Told(fails=fails)
    return run_of(Components((broken.part("broken"), Told().part("works")), tuple(metrics)), **settings)  # type: ignore[arg-type]


def test_an_explainer_that_fails_under_a_variant_loses_what_reads_it() -> None:
    """It keeps its other scores, and others keep theirs; there is one row per image, one failure, and no second try."""
    wanted = [measure("avg_sensitivity"), measure("max_sensitivity"), measure("flip_equivariance"), measure("gini")]
    result = failing(wanted, lambda run: "Noise" in run.variant_name)
    lost = {("broken", "avg_sensitivity"), ("broken", "max_sensitivity")}
    assert {key for key, status in statuses(result).items() if status == "error"} == lost
    assert len(statuses(result)) == 8
    assert [f["explainer"] for f in result.log.failures] == ["broken"]
    assert [f["images"] for f in result.log.failures] == [6]
    assert result.log.failures[0]["message"] == "broken on purpose"


def test_a_failure_in_the_second_batch_of_a_variant_loses_the_variant() -> None:
    """Half of a smoothed map is no map."""
    calls: list[str] = []

    def second_copy(run: Pass) -> bool:
        calls.append(run.variant_name)
        return "Smoothed" in run.variant_name and len(smoothed()) == 2

    def smoothed() -> list[str]:
        return [variant for variant in calls if "Smoothed" in variant]

    result = failing([measure("smooth_mprt", samples=3), measure("flip_equivariance")], second_copy)
    assert {key for key, status in statuses(result).items() if status == "error"} == {("broken", "smooth_mprt")}
    assert len(smoothed()) == 2


def test_without_the_other_side_there_is_no_comparison() -> None:
    """Where the map to compare with failed, that is the reason given, not the comparison's."""
    result = failing([measure("smooth_mprt", samples=2)], lambda run: "of=Variant()" in run.variant_name)
    assert statuses(result) == {("broken", "smooth_mprt"): "error", ("works", "smooth_mprt"): "ok"}
    assert [f["message"] for f in result.log.failures] == ["broken on purpose"]


def test_a_comparison_that_fails_costs_its_cells_only() -> None:
    """Other metrics of the same variants are untouched."""
    bad = metric("bad", VariantMetric([Noise(8 / 255, n) for n in range(3)], lambda *_: 1 / 0))  # type: ignore[arg-type]
    result = run_of(Components((Told().part(),), (bad, measure("avg_sensitivity"))))
    assert statuses(result) == {("told", "bad"): "error", ("told", "avg_sensitivity"): "ok"}
    assert [(f["stage"], f["metric"], f["type"]) for f in result.log.failures] == [
        ("metric", "bad", "ZeroDivisionError")
    ]


def test_values_of_a_wrong_shape_cost_their_cell_only() -> None:
    """A metric that returns one number for all images is told so; the rest of the block goes on."""
    bad = metric("bad", VariantMetric([Noise(8 / 255, 0)], lambda *_: torch.zeros(1)))
    result = run_of(Components((Told().part(),), (bad, measure("avg_sensitivity"), measure("gini"))))
    assert statuses(result)["told", "bad"] == "error"
    assert len({status for key, status in statuses(result).items() if key[1] != "bad"}) == 1
    assert "(B,) = (6,), got (1,)" in result.log.failures[0]["message"]


class Unmakeable(Variant):
    """A variant without a model."""

    def model(self, model: Model, seed: int) -> Model:
        raise ValueError("no such model")


class AlsoUnmakeable(Unmakeable):
    """Another one."""


def test_a_variant_that_cannot_be_made_costs_its_readers() -> None:
    """All explainers lose the metrics that read it, once, and nothing else."""
    variants = [Noise(0.1, 0), Unmakeable(), Noise(0.1, 1), AlsoUnmakeable()]
    bad = [metric(name, VariantMetric(variants, change)) for name in ("one", "two")]
    told = Told()
    result = run_of(Components((told.part("a"), told.part("b")), (*bad, measure("flip_equivariance"))))
    assert {key for key, status in statuses(result).items() if status == "error"} == {
        (explainer, name) for explainer in "ab" for name in ("one", "two")
    }
    assert Noise(0.1, 1).key not in told.variants
    assert [f["images"] for f in result.log.failures] == [6]


def test_variants_that_cannot_be_listed_cost_their_metric() -> None:
    """A metric that cannot say what it needs of this model loses its cells, the block goes on."""

    def unlisted(_: Model) -> list[Variant]:
        raise ValueError("no such layers")

    result = run_of(Components((Told().part(),), (metric("bad", VariantMetric(unlisted, change)), measure("mprt"))))
    assert statuses(result) == {("told", "bad"): "error", ("told", "mprt"): "ok"}


def test_nothing_is_made_for_what_is_skipped() -> None:
    """A metric that no explainer may have is neither asked for its variants nor is its model made: no failure."""

    def unlisted(_: Model) -> list[Variant]:
        raise ValueError("no such layers")

    wanted = (
        metric("unlisted", VariantMetric(unlisted, change)),
        metric("unmade", VariantMetric([Unmakeable()], change)),
    )
    told = Told()
    result = run_of(
        Components((told.part(),), (*wanted, measure("gini"))),
        skipped={"unlisted": "needs weights", "unmade": "needs weights"},
    )
    assert statuses(result) == {("told", "gini"): "ok"}
    assert not result.log.failures
    assert told.variants == [""]


def test_running_out_of_memory_under_a_variant_halves_the_batch() -> None:
    """It is no failure of a cell: the block begins again with less, and the scores are those of a larger machine."""
    saliency, wanted = make_explainer("saliency"), (measure("avg_sensitivity"), measure("mprt"))

    def tight(run: Pass, targets: Tensor) -> Tensor:
        if run.variant_name and len(run) > 3:
            raise torch.OutOfMemoryError("no room")
        return saliency.plugin(run, targets)  # type: ignore[no-any-return]

    result = run_of(Components((replace(saliency, plugin=tight),), wanted), chunk=6)
    assert result.log.chunk == 3
    assert not result.log.failures
    whole = scores(run_of(Components((saliency,), wanted)))
    pd.testing.assert_frame_equal(scores(result), whole, rtol=1e-5, atol=1e-6)
