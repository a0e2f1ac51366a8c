"""The main job from end to end: known truth, invariance, isolation, resume."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest
import torch

import mavis
from mavis.core import registry
from mavis.core.compute import Meter
from mavis.core.errors import StoreError
from mavis.engine.execution import scheduler
from mavis.engine.planning import plan as planning
from mavis.engine.planning import setup
from mavis.engine.planning.request import Request
from mavis.engine.provenance import run_identity
from mavis.engine.store import Store
from mavis.protocol import loading
from mavis.workflows import run as pipeline

from ..light import write_light_protocol

KEY = ["model", "image", "explainer", "metric"]
MEASURED = ("seconds", "peak_memory")

SMALL = Request(
    models=("race_resnet",),
    explainers=("saliency", "gradcam", "smoothgrad", "rise"),
    metrics=("nsrg", "srg", "relevance_rank", "avg_sensitivity", "mprt", "gini", "valid", "forwards", "backwards"),
    limit=7,
)


@pytest.fixture(autouse=True, scope="module")
def light(tmp_path_factory):
    """Few samples of everything, and no pages: the engine is tested here."""
    rules = loading.load_protocol(str(write_light_protocol(tmp_path_factory.mktemp("protocol"))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "load_protocol", lambda _: rules)
        patch.setattr(pipeline.report, "write_report", lambda *_: None)
        yield rules


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def table(folder):
    """Scores that must not depend on how a run went, sorted."""
    found = Store.open_existing(folder).scores()
    found = found[~found["metric"].isin(MEASURED)]
    return found.set_index(KEY)[["value", "status", "forwards", "backwards"]].sort_index()


def assert_equal(one, other):
    assert one.index.equals(other.index)
    assert (one["status"] == other["status"]).all()
    assert (one["value"] - other["value"]).abs().max() < 1e-5
    assert (one["forwards"] == other["forwards"]).all()


@pytest.fixture(scope="module")
def whole(folders, light):
    """An uninterrupted run."""
    folder = folders / "whole"
    pipeline.run_benchmark(SMALL, folder)
    return table(folder)


def test_a_run_costs_what_was_planned(whole, folders, tmp_path):
    """Counted while it ran: forwards to 5 %, all work, in which shared backwards are saved, to a quarter."""
    plan = setup.plan_run(SMALL)
    (model, _), planned = plan.models["race_resnet"], plan.by_model["race_resnet"].cost.total
    with Meter().attach(model.net) as meter:
        pipeline.measure_models(plan, Store.open_or_create(tmp_path / "run", run_identity(plan)))
    before = plan.by_model["race_resnet"].cost.setup_forwards
    assert meter.forwards * 7 == before * 8  # batches of seven are filled up to eight
    logs = Store.open_existing(folders / "whole").logs()
    forwards, backwards = before + sum(log.forwards for log in logs), sum(log.backwards for log in logs)
    assert forwards == pytest.approx(planned.forwards, rel=0.05)
    assert backwards <= planned.backwards
    assert forwards + 2 * backwards == pytest.approx(planned.forward_equivalents, rel=0.25)


def test_progress_is_told_what_was_done_before(whole, folders):
    """Of a run that is whole already, all of the work."""
    told = []
    pipeline.run_benchmark(SMALL, folders / "whole", scheduler.Progress(begin=lambda *given: told.append(given)))
    ((work, before, blocks, done),) = told
    assert 0 < work == before
    assert 0 < blocks == done


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_scores_do_not_depend_on_the_batch_size(size, whole, tmp_path):
    """Batch sizes 1, 2, 7 and 64 give the scores of the default one, random components included."""
    request = replace(SMALL, batch_size=size)
    if size < 7:  # every call is filled up to eight images, so that it takes so many times as long
        request = replace(request, explainers=("smoothgrad",), metrics=("nsrg", "avg_sensitivity", "mprt"))
    pipeline.run_benchmark(request, tmp_path / "run")
    found = table(tmp_path / "run")
    assert {"smoothgrad", "random"} <= set(found.index.unique("explainer"))
    assert_equal(found, whole if size >= 7 else whole.loc[found.index])


def test_scores_do_not_depend_on_the_order(whole, tmp_path, monkeypatch):
    """Images in reverse order get the same scores."""
    drawn = setup.draw_sample
    monkeypatch.setattr(
        setup, "draw_sample", lambda *given: replace(s := drawn(*given), ids=s.ids[::-1], table=s.table.iloc[::-1])
    )
    pipeline.run_benchmark(SMALL, tmp_path / "run")
    assert_equal(table(tmp_path / "run"), whole)


def test_two_shards_make_one_run(whole, tmp_path, monkeypatch):
    """Two shards into one folder give the run, and neither does the other's blocks."""
    monkeypatch.setattr(planning.make_blocks, "__defaults__", (4,))
    pipeline.run_benchmark(replace(SMALL, shard=(1, 2)), tmp_path / "run")
    half = len(Store.open_existing(tmp_path / "run").logs())
    found = pipeline.run_benchmark(replace(SMALL, shard=(2, 2)), tmp_path / "run")
    assert 0 < half < found.run.blocks_done == found.run.blocks_planned
    assert_equal(table(tmp_path / "run"), whole)


def test_an_interrupted_run_goes_on(whole, tmp_path, monkeypatch):
    """A run that stops in the second block continues with it and gives the same scores; the first is not repeated."""
    monkeypatch.setattr(planning.make_blocks, "__defaults__", (4,))
    execute, done = scheduler.run_block, []

    def stops(job, block):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(block.id)
        return execute(job, block)

    monkeypatch.setattr(scheduler, "run_block", stops)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run_benchmark(SMALL, tmp_path / "run")
    again = []
    monkeypatch.setattr(scheduler, "run_block", lambda job, block: again.append(block.id) or execute(job, block))
    pipeline.run_benchmark(SMALL, tmp_path / "run")
    assert done[0] not in again
    assert_equal(table(tmp_path / "run"), whole)


def test_a_failure_costs_only_its_own_cells(tmp_path, monkeypatch):
    """An explainer that raises is recorded with its traceback, a metric that raises loses its own cells; all other
    scores are there."""
    entry = registry.explainers["smoothgrad"]
    traits = replace(entry.traits, needs=frozenset({"forward"}))  # so that it is not tried before the run
    monkeypatch.setitem(registry.explainers.entries, "smoothgrad", replace(entry, registered=broken, traits=traits))
    bad = mavis.MapMetric(lambda maps, batch: 1 / 0)
    monkeypatch.setitem(registry.metrics.entries, "gini", replace(registry.metrics["gini"], registered=lambda: bad))
    found = pipeline.run_benchmark(SMALL, tmp_path / "run")
    scores = Store.open_existing(tmp_path / "run").scores()
    fails = (scores["explainer"] == "smoothgrad") | (scores["metric"] == "gini")
    assert set(scores.loc[fails, "status"]) == {"error"}
    assert "error" not in set(scores.loc[~fails, "status"])
    assert {"saliency", "rise", "random"} <= set(scores.loc[~fails, "explainer"])
    assert {f.explainer for f in found.failures if f.metric != "gini"} == {"smoothgrad"}
    assert any("broken on purpose" in f.traceback for f in found.failures if f.explainer == "smoothgrad")


def test_out_of_memory_halves_the_batch_and_changes_no_score(whole, tmp_path, monkeypatch):
    """A batch that does not fit is halved until it does; scores stay, and the log says which batch size it was."""
    predict = mavis.Pass.predict

    def tight(run, images):
        if run.chunk > 4:
            raise torch.OutOfMemoryError("no room")
        return predict(run, images)

    monkeypatch.setattr(mavis.Pass, "predict", tight)
    pipeline.run_benchmark(replace(SMALL, batch_size=16), tmp_path / "run")
    assert {log.chunk for log in Store.open_existing(tmp_path / "run").logs()} == {4}
    assert_equal(table(tmp_path / "run"), whole)


def test_shared_passes_are_counted_once(tmp_path):
    """Six gradient and CAM explainers cost one forward and one backward an image, beside the sweeps."""
    request = replace(
        SMALL,
        explainers=("saliency", "input_x_gradient", "cam", "gradcam", "gradcam_plus_plus"),
        metrics=("gini", "valid", "forwards", "backwards"),
    )
    found = pipeline.run_benchmark(request, tmp_path / "run")
    scores = Store.open_existing(tmp_path / "run").scores()
    own = scores[scores["metric"].isin(["forwards", "backwards"])].groupby(["explainer", "metric"])["value"].first()
    assert own["saliency", "forwards"] == own["gradcam", "forwards"] == own["cam", "forwards"] == 1
    assert own["saliency", "backwards"] == own["gradcam", "backwards"] == 1
    oracle = own["oracle", "forwards"] - 1  # its forward of the image itself is shared too
    assert found.run.forwards == 7 + 7 * oracle
    assert found.run.backwards == 7


def test_another_run_s_folder_is_refused(whole, folders):
    """A folder made under other rules, models or data is left alone, with what differs named."""
    with pytest.raises(StoreError, match="overrides"):
        pipeline.run_benchmark(replace(SMALL, limit=14), folders / "whole")
    with pytest.raises(StoreError, match="models"):
        pipeline.run_benchmark(replace(SMALL, models=("race_resnet_biased",)), folders / "whole")


def test_a_finished_run_is_not_repeated(whole, folders, monkeypatch):
    """The command of a finished run executes nothing and gives the same findings."""
    monkeypatch.setattr(scheduler, "run_block", lambda *_: pytest.fail("a block was executed again"))
    found = pipeline.run_benchmark(SMALL, folders / "whole")
    assert found.run.blocks_done == found.run.blocks_planned


def test_an_older_run_still_reports(whole, folders, tmp_path):
    """Without the columns that gaps are held equal in, the rest is as it was, and gaps say what is missing."""
    older = tmp_path / "older"
    shutil.copytree(folders / "whole", older)
    store = Store.open_existing(older)
    looks = ["brightness", "contrast", "sharpness", "imputation_contrast"]
    assert {*looks, "correct", "weight"} <= set(store.images().columns)
    store.write_images(store.images().drop(columns=[*looks, "correct", "weight"]))
    now, before = (pipeline.write_report(folder).models[0].explainers[0] for folder in (folders / "whole", older))
    for one, other in zip(now.metrics, before.metrics, strict=True):
        assert one.estimate == other.estimate
        for gap, old in zip(one.gaps, other.gaps, strict=True):
            assert (gap.range, gap.p) == (old.range, old.p)
            assert not old.pairs or old.statement.values["columns"] == looks


def test_planted_truth_comes_out(tmp_path):
    """On the mean over a quarter of the image the oracle gains 1 − p = .75, nobody more, and random nothing."""
    request = Request(
        models=("mask_mean",),
        data="planted_square",
        groups=("shade",),
        explainers=("saliency", "input_x_gradient", "integrated_gradients", "smoothgrad", "occlusion", "rise"),
        metrics=("nsrg", "valid"),
        limit=40,
    )
    found = pipeline.run_benchmark(request, tmp_path / "run")
    means = {e.explainer: e.metrics[0].estimate for e in found.models[0].explainers}
    assert means["oracle"].mean == pytest.approx(0.75, abs=1e-5)
    assert max(m.mean for m in means.values() if m.mean is not None) <= 0.75 + 1e-5
    assert means["random"].low < 0 < means["random"].high
    assert {e.rank for e in found.models[0].explainers if e.role != "method"} == {None}


@pytest.fixture(scope="module")
def twins(folders, light):
    """The findings of the balanced and the biased model on the same images, and the folder of the run."""
    request = replace(
        SMALL,
        models=("race_resnet", "race_resnet_biased"),
        explainers=("integrated_gradients",),
        metrics=("cue_mass", "relevance_mass", "nsrg", "valid"),
        limit=28,
        protocol=light.model_copy(update={"reliance": light.reliance.model_copy(update={"draws": 2})}),
    )
    return pipeline.run_benchmark(request, folders / "twins"), folders / "twins"


def test_models_stand_side_by_side_on_the_same_images(twins):
    """Two models are evaluated on the same images; the biased one looks at the cue more and is right less often."""
    found, folder = twins
    balanced, biased = found.models
    images = Store.open_existing(folder).images().groupby("model")["image"].apply(set)
    assert images["race_resnet"] == images["race_resnet_biased"]
    assert biased.validity.accuracy.mean < balanced.validity.accuracy.mean
    assert biased.validity.cue["agrees"] > biased.validity.cue["disagrees"]
    explained = [next(e for e in m.explainers if e.explainer == "integrated_gradients") for m in found.models]
    mass = [next(m.estimate for m in e.metrics if m.metric == "cue_mass") for e in explained]
    assert mass[1].low > mass[0].high


TO_KILL = """
import pickle, sys, torch
from mavis.engine.planning import plan
from mavis.workflows.run import run_benchmark
torch.set_num_threads(1)
plan.make_blocks.__defaults__ = (1,)
run_benchmark(*pickle.load(sys.stdin.buffer))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_a_killed_process_loses_nothing(tmp_path, light, monkeypatch):
    """Killed without warning while it works, a run continues; its scores equal those of an uninterrupted one."""
    request = replace(
        SMALL, explainers=("saliency", "gradcam"), metrics=("deletion", "valid"), limit=7, device="cpu", protocol=light
    )
    process = subprocess.Popen([sys.executable, "-c", TO_KILL], stdin=subprocess.PIPE)
    pickle.dump((request, tmp_path / "killed"), process.stdin)
    process.stdin.close()
    parts = tmp_path / "killed" / "parts"
    give_up = time.monotonic() + 120
    while not (parts.is_dir() and list(parts.glob("*.parquet"))) and time.monotonic() < give_up:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = len(Store.open_existing(tmp_path / "killed").logs())
    monkeypatch.setattr(planning.make_blocks, "__defaults__", (1,))
    for name in ("killed", "whole"):
        pipeline.run_benchmark(request, tmp_path / name)
    assert done < len(Store.open_existing(tmp_path / "whole").logs())
    pd.testing.assert_frame_equal(table(tmp_path / "killed"), table(tmp_path / "whole"))


def broken(**_):
    def explain(run, targets):
        raise RuntimeError("broken on purpose")

    return explain


def test_methods_blind_to_the_weights_or_the_class_fail_their_gate(tmp_path, monkeypatch):
    """Edges outlive the weights; the gradient of all logits together is the same for every class; neither is eligible,
    and integrated gradients pass both gates."""

    def of_all_classes():
        def explain(run, targets):
            images = run.images.detach().requires_grad_()
            return torch.autograd.grad(run.net(images).square().sum(), images)[0]

        return explain

    sobel = registry.explainers["sobel"]
    method = replace(sobel.traits, role="method")
    signed = replace(method, needs=frozenset({"gradient"}), signed=True)
    entries = registry.explainers.entries
    monkeypatch.setitem(entries, "edges", replace(sobel, name="edges", traits=method))
    monkeypatch.setitem(
        entries, "all_classes", replace(sobel, name="all_classes", registered=of_all_classes, traits=signed)
    )
    metrics = ("nsrg", "mprt", "random_logit", "repeatability", "replicate_agreement", "completeness", "valid")
    names = ("integrated_gradients", "edges", "all_classes")
    found = pipeline.run_benchmark(replace(SMALL, explainers=names, metrics=metrics, limit=14), tmp_path / "run")
    by = {e.explainer: e for e in found.models[0].explainers}
    passed = {name: {gate.id: gate.passed for gate in by[name].gates} for name in names}
    assert {name: (gates["G3"], gates["G4"]) for name, gates in passed.items()} == {
        "integrated_gradients": (True, True),
        "edges": (False, False),
        "all_classes": (True, False),
    }
    assert not by["edges"].eligible
    assert not by["all_classes"].eligible
    assert {gates["G1"] for gates in passed.values()} == {True}
    assert [name for name in names if "G2" in passed[name]] == ["integrated_gradients"]


def test_localisation_is_scored_against_the_parts_that_the_model_uses(twins):
    """The biased model was shown to use the cue beside the parts that carry the label; the balanced one was not, and
    neither counts the background."""
    found, _ = twins
    used = [{one.part for one in m.validity.reliance if one.used} for m in found.models]
    assert used == [{"eyes", "nose", "mouth"}, {"eyes", "nose", "mouth", "cue"}]
    assert [m.validity.truth_verified for m in found.models] == [True, True]
    assert [(m.validity.leak.known, m.validity.leak.rate) for m in found.models] == [(True, 0.0)] * 2
    assert all(m.validity.calibration_error is not None and len(m.validity.recall) == 7 for m in found.models)


def test_what_was_measured_before_the_maps_is_not_measured_again(whole, folders, monkeypatch):
    """A continued run keeps its truth: what the parts in use follow from is read, not measured."""
    again = dict.fromkeys(pipeline.MODEL_CHECKS, lambda *_: pytest.fail("it was measured again"))
    monkeypatch.setattr(pipeline, "MODEL_CHECKS", again)
    assert pipeline.run_benchmark(SMALL, folders / "whole").models[0].validity.reliance


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_an_accelerator_gives_the_scores_of_the_cpu(tmp_path):
    """On CUDA the same images, draws and orders give the same means, to the rounding of float32."""
    pipeline.run_benchmark(replace(SMALL, device="cpu"), tmp_path / "cpu")
    pipeline.run_benchmark(replace(SMALL, device="cuda"), tmp_path / "cuda")
    means = [table(tmp_path / name).groupby(["explainer", "metric"])["value"].mean() for name in ("cpu", "cuda")]
    assert (means[0] - means[1]).abs().max() < 1e-3
