"""Networks of timm and torchvision: prepared in time, with a CAM layer whose places are those of the image."""

import time

import pytest
import torch
from torch import Tensor

from mavis.core.registry import models
from mavis.core.types import Model
from mavis.explainers.cam import channels_first
from mavis.models.preparation.prepare import prepare_model

CPU = torch.device("cpu")
CLASSES = ("a", "b", "c")
SIDE = 64
SECONDS = 20.0
N_IMAGES = 8

TOLERANCE = 0.05
"""In places of the layer: the last maps of a network with random weights may answer nearly alike everywhere."""

TORCHVISION = (
    *("convnext_tiny", "densenet121", "efficientnet_b0", "mobilenet_v2", "mobilenet_v3_small", "resnet18"),
    *("squeezenet1_1", "swin_t"),
)
OTHER_SIZES = {"bat_resnext26ts": 256, "halonet26t": 256, "inception_v3": 128, "efficientformer_l1": 224}
"""Networks that take no 64 px."""
TIMM = (
    *("beit_base_patch16_224", "bat_resnext26ts", "botnet26t_256", "caformer_s18", "cait_xxs24_224", "coat_tiny"),
    *("coatnet_nano_rw_224", "convit_tiny", "convmixer_768_32", "convnext_atto", "convnextv2_atto", "cs3darknet_s"),
    *("cspresnet50", "darknet17", "davit_tiny", "deit_tiny_patch16_224", "deit3_small_patch16_224", "densenet121"),
    *("dla34", "dpn48b", "edgenext_xx_small", "efficientformer_l1", "efficientnet_b0", "efficientvit_b0"),
    *("efficientvit_m0", "eva02_tiny_patch14_224", "fastvit_t8", "fbnetc_100", "focalnet_tiny_srf", "gernet_s"),
    *("ghostnet_050", "gmixer_12_224", "halonet26t", "hardcorenas_a", "hgnet_tiny", "hrnet_w18_small", "inception_v3"),
    *("levit_128s", "lcnet_050", "mambaout_femto", "maxvit_nano_rw_256", "mixer_s16_224", "mnasnet_small"),
    *("mobilenetv3_small_050", "mobileone_s0", "mobilevit_xxs", "mvitv2_tiny", "nf_resnet26", "nfnet_l0"),
    *("pit_ti_224", "poolformer_s12", "pvt_v2_b0", "regnetx_002", "repvgg_a0", "resmlp_12_224", "resnet10t"),
    *("rexnet_100", "selecsls42", "sequencer2d_s", "skresnet18", "swin_tiny_patch4_window7_224", "tinynet_e"),
    *("tiny_vit_5m_224", "tnt_s_patch16_224", "tresnet_m", "twins_pcpvt_small", "vgg11", "visformer_tiny"),
    *("vit_tiny_patch16_224", "volo_d1_224", "vovnet39a", "xception41", "xcit_nano_12_p16_224"),
)


def moved_centres(model: Model, side: int) -> Tensor:
    """``(2,2)``: row and column of the centre of what changes in the CAM layer, for two corners of eight images."""
    images = torch.rand((N_IMAGES, 3, side, side), generator=torch.Generator().manual_seed(3))
    corners = (slice(0, side // 2), slice(side // 2, side))
    moved = images.repeat(3, 1, 1, 1, 1)
    for k, corner in enumerate(corners, start=1):
        moved[k, :, :, corner, corner] = 1 - images[:, :, corner, corner]
    seen: list[Tensor] = []
    handle = model.net.get_submodule(str(model.cam_layer)).register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        model.net(moved.flatten(0, 1))
    handle.remove()
    maps = channels_first(seen[0], (side, side)).double().unflatten(0, (3, N_IMAGES))
    changes = (maps[1:] - maps[:1]).abs().sum((1, 2))
    height, width = changes.shape[1:]
    rows, columns = torch.arange(height, dtype=torch.double), torch.arange(width, dtype=torch.double)
    total = changes.sum((1, 2))
    return torch.stack([(changes.sum(2) @ rows) / total, (changes.sum(1) @ columns) / total], 1)


def largest_side(model: Model, side: int) -> int:
    """192 px where the network takes any size: its last maps then have more than 2 × 2 places."""
    try:
        with torch.no_grad():
            model.net(torch.rand(1, 3, 3 * SIDE, 3 * SIDE))
    except Exception:  # whatever a network raises that has one size only
        return side
    return 3 * SIDE


def prepared(spec: str, side: int) -> tuple[Model, float]:
    """A model, and the processor's seconds that it took to prepare it, without the drawing of random weights."""
    family, _, name = spec.partition(":")
    model = models[family].create({"spec": f"{name}@{side}"}).build(CLASSES)
    start = time.process_time()
    model, _ = prepare_model(model, CPU)
    return model, time.process_time() - start


def assert_explainable(spec: str) -> None:
    """It answers, in time; moving a change from one corner to the other moves the CAM layer's answer."""
    side = OTHER_SIZES.get(spec.partition(":")[2], SIDE)
    model, seconds = prepared(spec, side)
    assert seconds < SECONDS * (side / SIDE) ** 2
    assert model.net(torch.rand(2, 3, side, side)).shape == (2, 3)
    assert not any(module.training for module in model.net.modules())
    if model.cam_layer is not None:
        first, second = moved_centres(model, largest_side(model, side))
        assert (first < second + TOLERANCE).all(), (model.cam_layer, first, second)


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_a_network_of_torchvision_is_explainable(name: str) -> None:
    """Each of eight families."""
    assert_explainable(f"torchvision:{name}")


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_a_network_of_timm_is_explainable(name: str) -> None:
    """One small network per family."""
    pytest.importorskip("timm", reason="timm is not installed (extra timm)")
    assert_explainable(f"timm:{name}")
