"""Classifiers as ONNX files, where onnxruntime is installed; a clear word where it is not."""

import sys
from pathlib import Path
from typing import Any

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


def write_onnx(
    path: Path,
    head: nn.Linear,
    batch: int | str,
    side: int | str,
    channels: int = 3,
    *,
    end: str = "",
    width: int | str | None = None,
    image_type: str = "FLOAT",
) -> Path:
    """The network GlobalAveragePool, Flatten, Gemm as a file, put together node by node.

    Args:
        path: of the file.
        head: weights of Gemm.
        batch: number of images, or a name for any.
        side: height of the images in pixels, or a name for any.
        channels: of the images.
        end: operation behind Gemm, if any, with its attribute axis=1 where it is ArgMax.
        width: of the images, by default the height.
        image_type: type of the images, which are cast to float first.
    """
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra onnx)")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra onnx)")
    from onnx import TensorProto, helper, numpy_helper

    weight = head.weight.detach().numpy()[:, :1].repeat(channels, 1) if channels != 3 else head.weight.detach().numpy()
    axis = {"axis": 1, "keepdims": 0} if end == "ArgMax" else {}
    last = [helper.make_node(end, ["logits"], ["last"], **axis)] if end else []
    output_type = TensorProto.INT64 if end == "ArgMax" else TensorProto.FLOAT
    output_shape = [batch] if end == "ArgMax" else [batch, head.out_features]
    shape = [batch, channels, side, side if width is None else width]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("GlobalAveragePool", ["numbers"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], transB=1),
            *last,
        ],
        "colour",
        [helper.make_tensor_value_info("images", getattr(TensorProto, image_type), shape)],
        [helper.make_tensor_value_info("last" if end else "logits", output_type, output_shape)],
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


@pytest.mark.parametrize("name", ["weights.bin", "w" * 200])
def test_weights_beside_the_file_belong_to_the_content(head: nn.Linear, tmp_path: Path, name: str) -> None:
    """Under a short name and a long one; the file itself is the same."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra onnx)")
    path = write_onnx(tmp_path / "a.onnx", head, "N", 32)
    onnx.save(onnx.load(path), tmp_path / "b.onnx", save_as_external_data=True, location=name, size_threshold=0)
    before = open_model(f"onnx:{tmp_path / 'b.onnx'}", CPU)[0].revision
    data = bytearray((tmp_path / name).read_bytes())
    data[:4] = b"\0\0\0\0"
    (tmp_path / name).write_bytes(data)
    assert open_model(f"onnx:{tmp_path / 'b.onnx'}", CPU)[0].revision != before


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 64}, "must take square images, got 32 x 64 px"),
        (
            {"image_type": "UINT8"},
            r"as one of tensor\(float\), .*, got tensor\(uint8\); put the conversion into the file",
        ),
        ({"end": "ArgMax"}, r"must return logits as its first output, got 'last' of tensor\(int64\)"),
    ],
)
def test_another_input_or_output_is_refused(
    options: dict[str, Any], message: str, head: nn.Linear, tmp_path: Path
) -> None:
    """In words of MAVIS: sizes that differ, whole numbers, a label in place of logits."""
    path = write_onnx(tmp_path / "colour.onnx", head, "N", 32, **options)
    with pytest.raises(ModelError, match=message):
        open_model(f"onnx:{path}", CPU)


@pytest.mark.parametrize("image_type", ["FLOAT16", "DOUBLE"])
def test_images_of_another_floating_type_are_converted(image_type: str, head: nn.Linear, tmp_path: Path) -> None:
    """Half and double precision."""
    path = write_onnx(tmp_path / "colour.onnx", head, "N", 32, image_type=image_type)
    images = torch.rand(6, 3, 32, 32)
    torch.testing.assert_close(
        open_model(f"onnx:{path}", CPU)[0].net(images), head(images.mean((2, 3))), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize(("end", "n_outputs"), [("Sigmoid", 1), ("Sigmoid", 2), ("Softmax", 2), ("LogSoftmax", 2)])
def test_probabilities_of_a_file_become_logits(end: str, n_outputs: int, tmp_path: Path) -> None:
    """One sigmoid for two classes, one per class, a softmax, its logarithm: the predictions of the logits."""
    torch.manual_seed(0)
    head = nn.Linear(3, n_outputs)
    path = write_onnx(tmp_path / "colour.onnx", head, "N", 32, end=end)
    images = torch.rand(6, 3, 32, 32)
    logits = head(images.mean((2, 3)))
    expected = torch.cat([torch.zeros_like(logits), logits], 1) if n_outputs == 1 else logits
    net = open_model(f"onnx:{path}", CPU, ("a", "b"))[0].net
    torch.testing.assert_close(net(images).softmax(1), expected.softmax(1), rtol=0, atol=1e-5)


def test_an_option_says_what_a_file_returns(tmp_path: Path) -> None:
    """A sigmoid that is meant as a logit."""
    torch.manual_seed(0)
    head = nn.Linear(3, 1)
    path = write_onnx(tmp_path / "colour.onnx", head, "N", 32, end="Sigmoid")
    model, _ = open_model(f"onnx:{path}?output=one_logit", CPU, ("a", "b"))
    images = torch.rand(6, 3, 32, 32)
    torch.testing.assert_close(model.net(images)[:, 1:], head(images.mean((2, 3))).sigmoid() / 2)
    assert model.name == "colour?output=one_logit"


def test_a_file_is_run_as_a_black_box(head: nn.Linear, tmp_path: Path) -> None:
    """Black-box methods are scored, the others skipped with the reason."""
    path = write_onnx(tmp_path / "colour.onnx", head, "N", 64)
    options = {"metrics": ["gini", "deletion"], "groups": ["race"], "limit": 7, "device": "cpu"}
    result = mavis.evaluate(f"onnx:{path}", explainers=["occlusion", "gradcam"], **options)
    assert not result.findings.failures
    assert "occlusion" in set(result.to_frame()["explainer"])
    assert any("gradcam" in s.explainers and "needs activations, gradient" in s.reason for s in result.findings.skipped)
