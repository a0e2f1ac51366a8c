"""What identifies a run: protocol, models, data, explainers and software, as plain JSON."""

import json
from importlib.metadata import version

from mavis.engine.planning.request import Request
from mavis.engine.planning.setup import plan_run
from mavis.engine.provenance import run_identity


def test_it_names_everything_that_decides_the_scores() -> None:
    """Hash of the protocol, revision of each model and of the data, blocks, explainers with parameters."""
    plan = plan_run(Request(("race_resnet",), explainers=("saliency", "smoothgrad"), metrics=("gini",), limit=7))
    identity = json.loads(json.dumps(run_identity(plan)))
    assert identity["protocol_sha256"] == plan.protocol.sha256()
    assert identity["models"]["race_resnet"]["revision"] == plan.models["race_resnet"][0].revision
    assert (identity["data"]["revision"], identity["data"]["images"]) == (plan.sample.revision, 7)
    assert identity["blocks"] == [block.id for block in plan.blocks]
    assert identity["explainers"]["smoothgrad"] == plan.protocol.explainers.settings["smoothgrad"]
    assert identity["versions"]["torch"] == version("torch")
