"""Classifiers as ONNX files, where onnxruntime is installed; a clear word where it is not."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mavis
from mavis.core.errors import ModelError
from mavis.models.loading.open import open_model

CPU = torch.device("cpu")
CLASSES = ("a", "b", "c")


def test_without_onnxruntime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with what to install."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"need the package onnxruntime: pip install 'mavis-xai\[onnx\]'"):
        open_model("onnx:net.onnx", CPU)


@pytest.fixture
def head() -> nn.Linear:
    """Seven logits from the mean colour of the image."""
    torch.manual_seed(0)
    return nn.Linear(3, 7)


def write_onnx(path: Path, head: nn.Linear, batch: int | str, side: int | str, channels: int = 3) -> Path:
    """The network GlobalAveragePool, Flatten, Gemm as a file, put together node by node."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra onnx)")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra onnx)")
    from onnx import TensorProto, helper, numpy_helper

    weight = head.weight.detach().numpy()[:, :1].repeat(channels, 1) if channels != 3 else head.weight.detach().numpy()
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], transB=1),
        ],
        "colour",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, channels, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 7])],
        [
            numpy_helper.from_array(np.ascontiguousarray(weight), "weight"),
            numpy_helper.from_array(head.bias.detach().numpy(), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_a_file_answers_as_the_network_does(batch: int | str, head: nn.Linear, tmp_path: Path) -> None:
    """For any number of images, also where the file takes one or four at a time."""
    path = write_onnx(tmp_path / "colour.onnx", head, batch, 32)
    model, _ = open_model(f"onnx:{path}", CPU)
    assert (model.name, model.size, model.capabilities, model.cam_layer) == ("colour", 32, {"forward"}, None)
    images = torch.rand(6, 3, 32, 32)
    torch.testing.assert_close(model.net(images), head(images.mean((2, 3))), rtol=0, atol=1e-6)


def test_where_the_file_leaves_the_size_open_the_user_says_it(head: nn.Linear, tmp_path: Path) -> None:
    """64 px if nobody does; a size that the file does not take is refused."""
    path = write_onnx(tmp_path / "open.onnx", head, "N", "S")
    assert open_model(f"onnx:{path}", CPU)[0].size == 64
    assert open_model(f"onnx:{path}@48", CPU)[0].size == 48
    fixed = write_onnx(tmp_path / "fixed.onnx", head, "N", 32)
    with pytest.raises(ModelError, match="takes images of 32 px"):
        open_model(f"onnx:{fixed}@48", CPU)


def test_the_content_is_the_file(head: nn.Linear, tmp_path: Path) -> None:
    """Other weights, another hash."""
    first = open_model(f"onnx:{write_onnx(tmp_path / 'a.onnx', head, 'N', 32)}", CPU)[0]
    with torch.no_grad():
        head.bias += 1
    second = open_model(f"onnx:{write_onnx(tmp_path / 'b.onnx', head, 'N', 32)}", CPU)[0]
    assert first.revision != second.revision


def test_what_is_no_classifier_of_images_is_refused(head: nn.Linear, tmp_path: Path) -> None:
    """No file, no ONNX, grey images."""
    path = write_onnx(tmp_path / "grey.onnx", head, "N", 32, channels=1)
    with pytest.raises(ModelError, match=r"must take images \(N,3,H,W\)"):
        open_model(f"onnx:{path}", CPU)
    with pytest.raises(ModelError, match="There is no file"):
        open_model("onnx:none.onnx", CPU)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match="is not a model that onnxruntime can run"):
        open_model(f"onnx:{tmp_path / 'text.onnx'}", CPU)


def test_a_file_is_run_as_a_black_box(head: nn.Linear, tmp_path: Path) -> None:
    """Black-box methods are scored, the others skipped with the reason."""
    path = write_onnx(tmp_path / "colour.onnx", head, "N", 64)
    options = {"metrics": ["gini", "deletion"], "groups": ["race"], "limit": 7, "device": "cpu"}
    result = mavis.evaluate(f"onnx:{path}", explainers=["occlusion", "gradcam"], **options)
    assert not result.findings.failures
    assert "occlusion" in set(result.to_frame()["explainer"])
    assert any("gradcam" in s.explainers and "needs activations, gradient" in s.reason for s in result.findings.skipped)
