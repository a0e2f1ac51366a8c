"""Attention explainers on transformers whose attention is computed here by hand; the contract on torchvision's."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import SwinTransformer, VisionTransformer

from mavis.core.attribution_maps import upsample
from mavis.core.errors import ModelError
from mavis.core.model_pass import Pass
from mavis.core.types import Batch, Model
from mavis.explainers.attention import _attend, _AttentionRecorder

from .. import test_contract as contract
from ..toys import Pooled, explain, make_model, make_pass, measure_cost, random_images

ATTENTION = ("attention_rollout", "gradient_rollout", "attention_x_gradient")
CAMS = ("gradcam", "gradcam_plus_plus", "hirescam", "layercam", "xgradcam", "eigencam", "scorecam", "ablationcam")
KINDS = ("multi-head", "fused", "softmax")


class Attention(nn.Module):
    """Two heads of four channels: torch's own module, or as timm has it, by the fused function or step by step."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.whole = kind, nn.MultiheadAttention(8, 2, batch_first=True)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, ``(B,2,N,4)`` each."""
        projected = functional.linear(x, self.whole.in_proj_weight, self.whole.in_proj_bias)
        q, k, v = projected.unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def out(self, mixed: Tensor) -> Tensor:
        return self.whole.out_proj(mixed.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "multi-head":
            return self.whole(x, x, x, need_weights=False)[0]
        q, k, v = self.heads(x)
        if self.kind == "fused":
            return self.out(functional.scaled_dot_product_attention(q, k, v))
        return self.out((q @ k.mT / 2).softmax(-1) @ v)


class Transformer(nn.Module):
    """Patches of 4 px, a class token if asked for, attention layers with a residual each, and a linear head."""

    def __init__(self, kind: str = "multi-head", *, layers: int = 3, token: bool = True, pool: str = "token") -> None:
        super().__init__()
        self.patch, self.first = nn.Conv2d(3, 8, 4, stride=4), nn.Parameter(torch.zeros(1, 1, 8))
        self.layers = nn.ModuleList(Attention(kind) for _ in range(layers))
        self.norm, self.head, self.token, self.global_pool = nn.LayerNorm(8), nn.Linear(8, 3), token, pool
        stream = torch.Generator().manual_seed(6)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=stream) * 0.3)

    def tokens(self, images: Tensor) -> Tensor:
        x = self.patch(images).flatten(2).mT
        return torch.cat([self.first.expand(len(x), -1, -1), x], 1) if self.token else x

    def above(self, x: Tensor) -> Tensor:
        reads_token = self.token and self.global_pool == "token"
        return self.head(self.norm(x[:, 0] if reads_token else x[:, int(self.token) :].mean(1)))

    def forward(self, images: Tensor) -> Tensor:
        x = self.tokens(images)
        for layer in self.layers:
            x = x + layer(x)
        return self.above(x)

    def attention(self, images: Tensor, target: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """softmax(Q·Kᵀ/√d) and the target logit's gradient with respect to it: ``(layers,B,2,N,N)``, double."""
        x, found = self.tokens(images.clone().requires_grad_()), []
        for layer in self.layers:
            q, k, v = layer.heads(x)
            scores = torch.einsum("bhid,bhjd->bhij", q, k) / 4**0.5
            found.append(scores.exp() / scores.exp().sum(-1, keepdim=True))
            x = x + layer.out(torch.einsum("bhij,bhjd->bhid", found[-1], v))
        gradients = torch.autograd.grad(self.above(x)[:, target].sum(), found)
        return torch.stack(found).detach().double().numpy(), torch.stack(gradients).double().numpy()


def a_transformer(images: Tensor, kind: str = "multi-head", **shape: object) -> Pass:
    return make_pass(make_model(Transformer(kind, **shape), cam_layer="layers"), images)


def enlarged(rows: np.ndarray, h: int = 4, w: int = 4) -> Tensor:
    """What tokens take from each patch, ``(B,h·w)``, as maps of images whose patches have 4 px."""
    return upsample(torch.tensor(rows).float().unflatten(1, (h, w))[:, None], (4 * h, 4 * w))


def rolled(attention: np.ndarray) -> np.ndarray:
    """Abnar and Zuidema, image by image: ``(B,N,N)``."""
    products = []
    for layers in attention.mean(2).swapaxes(0, 1):
        product = np.eye(layers.shape[-1])
        for layer in layers:
            product = (0.5 * layer + 0.5 * np.eye(len(layer))) @ product
        products.append(product)
    return np.array(products)


def relevant(attention: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Chefer et al., image by image, less the identity: ``(B,N,N)``."""
    actual = []
    for layers in np.maximum(attention * gradient, 0).mean(2).swapaxes(0, 1):
        relevance = np.eye(layers.shape[-1])
        for layer in layers:
            relevance = relevance + layer @ relevance
        actual.append(relevance - np.eye(len(relevance)))
    return np.array(actual)


# What is recorded.


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_the_softmax_of_queries_and_keys(kind: str) -> None:
    """However the layer computes them, they are softmax(Q·Kᵀ/√d), and the logits are what they are without."""
    images, net = random_images(2, 16), Transformer(kind).eval()
    with _AttentionRecorder() as recorder:
        logits = net(images)
    torch.testing.assert_close(logits, net(images))
    actual = np.array([call.source.detach().reshape(call.shape).numpy() for call in recorder.calls])
    np.testing.assert_allclose(actual, net.attention(images)[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"scale": 0.3}, {"attn_mask": "add"}, {"attn_mask": "keep"}])
def test_the_fused_function_is_followed(settings: dict) -> None:
    """With a scale or a mask of its own, the output is torch's and the rows add up to one."""
    stream = torch.Generator().manual_seed(0)
    q, k, v, shift = (torch.randn((2, 3, 6, n), generator=stream) for n in (4, 4, 4, 6))
    masks = {"add": shift, "keep": shift > -0.5}
    settings = {name: masks.get(value, value) for name, value in settings.items()}
    output, probabilities = _attend(q, k, v, **settings)
    torch.testing.assert_close(output, functional.scaled_dot_product_attention(q, k, v, **settings))
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(2, 3, 6))


@pytest.mark.parametrize("settings", [{"is_causal": True}, {"dropout_p": 0.1}, {"enable_gqa": True}])
def test_other_kinds_of_attention_are_an_error(settings: dict) -> None:
    """Rather than being followed wrongly."""
    with pytest.raises(ModelError, match="random, causal or grouped"):
        _attend(*torch.zeros(3, 1, 2, 4, 4), **settings)


@pytest.mark.parametrize("settings", [{"need_weights": False}, {}, {"average_attn_weights": False}])
def test_a_layer_gets_the_weights_that_it_asks_for(settings: dict) -> None:
    """None, the mean over heads, or those of each head."""
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True).eval(), torch.rand(2, 5, 8)
    expected = layer(x, x, x, **settings)
    with _AttentionRecorder():
        actual = layer(x, x, x, **settings)
    assert (actual[1] is None) == (expected[1] is None)
    for first, second in zip(actual, expected, strict=True):
        if second is not None:
            torch.testing.assert_close(first, second)


# The maps.


@pytest.mark.parametrize("kind", KINDS)
def test_rollout_is_a_product_of_matrices(kind: str) -> None:
    """The class token's row of the product of (A + I)/2, A averaged over heads; whatever is explained."""
    model_pass = a_transformer(random_images(3, 16), kind)
    rows = rolled(model_pass.model.net.attention(model_pass.images)[0])[:, 0, 1:]
    torch.testing.assert_close(explain("attention_rollout", model_pass), enlarged(rows), rtol=1e-4, atol=1e-6)
    assert explain("attention_rollout", model_pass, 2).equal(explain("attention_rollout", model_pass, 0))


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_rollout_of_uniform_attention_is_uniform(layers: int) -> None:
    """Where all attend to all N alike, a patch has (1 − 2^−layers)/N."""
    net = Transformer(layers=layers)
    with torch.no_grad():
        for layer in net.layers:
            layer.whole.in_proj_weight[:16], layer.whole.in_proj_bias[:16] = 0, 0
    maps = explain("attention_rollout", make_pass(make_model(net, cam_layer="layers"), random_images(2, 16)))
    torch.testing.assert_close(maps, torch.full((2, 1, 16, 16), (1 - 0.5**layers) / 17))


@pytest.mark.parametrize("target", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_rollout_adds_up_the_layers(kind: str, target: int) -> None:
    """R ← R + mean over heads of (∇A ⊙ A)⁺ · R from R = I; the class token's row."""
    model_pass = a_transformer(random_images(3, 16), kind)
    rows = relevant(*model_pass.model.net.attention(model_pass.images, target))[:, 0, 1:]
    torch.testing.assert_close(explain("gradient_rollout", model_pass, target), enlarged(rows), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("target", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_attention_x_gradient_reads_the_last_layer(kind: str, target: int) -> None:
    """Mean over heads of (∇A ⊙ A)⁺; the class token's row."""
    model_pass = a_transformer(random_images(3, 16), kind)
    attention, gradient = model_pass.model.net.attention(model_pass.images, target)
    rows = np.maximum(attention * gradient, 0)[-1].mean(1)[:, 0, 1:]
    torch.testing.assert_close(
        explain("attention_x_gradient", model_pass, target), enlarged(rows), rtol=1e-4, atol=1e-6
    )


def test_with_one_layer_both_gradient_methods_agree() -> None:
    """There is nothing to carry."""
    model_pass = a_transformer(random_images(3, 16), layers=1)
    torch.testing.assert_close(
        explain("gradient_rollout", model_pass, 1), explain("attention_x_gradient", model_pass, 1)
    )


@pytest.mark.parametrize("shape", [{"token": False}, {"pool": "avg"}])
def test_averaged_patches_are_read_together(shape: dict) -> None:
    """Without a class token, or where it is not what the logits read, a patch has the mean over the patches' rows."""
    model_pass = a_transformer(random_images(3, 16), **shape)
    attention, gradient = model_pass.model.net.attention(model_pass.images, 1)
    extra = attention.shape[-1] - 16
    for name, expected_rows in (
        ("attention_rollout", rolled(attention)),
        ("gradient_rollout", relevant(attention, gradient)),
        ("attention_x_gradient", np.maximum(attention * gradient, 0)[-1].mean(1)),
    ):
        rows = expected_rows[:, extra:, extra:].mean(1)
        torch.testing.assert_close(explain(name, model_pass, 1), enlarged(rows), rtol=1e-4, atol=1e-6)


def test_oblong_images_have_oblong_grids() -> None:
    """Four by six patches."""
    model_pass = a_transformer(torch.rand((2, 3, 16, 24), generator=torch.Generator().manual_seed(0)))
    rows = rolled(model_pass.model.net.attention(model_pass.images)[0])[:, 0, 1:]
    torch.testing.assert_close(explain("attention_rollout", model_pass), enlarged(rows, 4, 6), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "backwards"), [*zip(ATTENTION, (0, 3, 3), strict=True)])
def test_cost_is_exact(name: str, backwards: int) -> None:
    """One forward and at most one backward an image."""
    cost = measure_cost(a_transformer(random_images(3, 16)), name)
    assert (cost.forwards, cost.backwards) == (3, backwards)


def test_gradient_methods_share_one_forward_and_one_backward() -> None:
    """Each is charged what it would have cost alone."""
    model_pass = a_transformer(random_images(3, 16))
    for name in ("gradient_rollout", "attention_x_gradient"):
        cost = measure_cost(model_pass, name, 1)
        assert (cost.forwards, cost.backwards) == (3, 3)
    assert (model_pass.meter.forwards, model_pass.meter.backwards) == (3, 3)


# What cannot be explained so.


@pytest.mark.parametrize("name", ATTENTION)
def test_a_convolutional_network_has_no_attention(name: str) -> None:
    """It is named, with what to do."""
    with pytest.raises(ModelError, match=r"'Pooled' has no attention layers; leave out"):
        explain(name, make_pass(make_model(Pooled(), cam_layer="relu"), random_images(1)))


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_within_windows_is_an_error(name: str) -> None:
    """What windows take cannot be followed from window to window."""
    net = SwinTransformer([4, 4], 8, [2, 2], [2, 2], [4, 4], num_classes=3)
    with pytest.raises(ModelError, match="'SwinTransformer' attends to a part of the image at a time"):
        explain(name, make_pass(make_model(net, cam_layer="features"), random_images(3, 32)))


@pytest.mark.parametrize("name", ATTENTION)
def test_layers_over_other_tokens_are_an_error(name: str) -> None:
    """Where tokens are merged on the way, their matrices do not multiply."""

    class Merging(Transformer):
        def forward(self, images: Tensor) -> Tensor:
            x = self.layers[0](self.tokens(images))
            return self.above(self.layers[1](x[:, :5]))

    with pytest.raises(ModelError, match="'Merging' attends to other tokens in one layer than in another"):
        explain(name, make_pass(make_model(Merging(), cam_layer="layers"), random_images(1, 16)))


# The contract, on torchvision's vision transformer.


@pytest.fixture(scope="module")
def vision_transformer() -> Model:
    net = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=3)
    stream = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=stream) * 0.5)
    return make_model(net, cam_layer="encoder.layers.encoder_layer_1.ln_1")


@pytest.fixture(scope="module")
def batch() -> Batch:
    images = random_images(contract.MANY, 32)
    ids = tuple(f"toy/{row}" for row in range(len(images)))
    flat = torch.zeros(len(images), 32, 32, dtype=torch.uint8)
    return Batch(images, torch.zeros(len(images), dtype=torch.int64), ids, parts=flat, regions=flat.bool())


@pytest.mark.parametrize(
    "promise",
    [
        contract.test_map_has_the_shape_and_is_finite,
        contract.test_model_and_images_are_unchanged,
        contract.test_map_is_the_same_in_any_batch,
        contract.test_map_is_repeatable,
        contract.test_other_explainers_do_not,
        contract.test_explainer_asks_only_for_what_it_declares,
    ],
    ids=lambda promise: promise.__name__.removeprefix("test_"),
)
@pytest.mark.parametrize("name", [*ATTENTION, *CAMS])
def test_the_contract_holds_on_tokens(name: str, promise: object, vision_transformer: Model, batch: Batch) -> None:
    """Attention explainers and CAM keep on a transformer what every explainer keeps on a network of convolutions."""
    promise(name, vision_transformer, batch)


@pytest.mark.parametrize("name", ATTENTION)
def test_maps_are_never_negative(name: str, vision_transformer: Model, batch: Batch) -> None:
    """As they declare."""
    actual = contract.explained(name, contract.a_pass(vision_transformer, batch))
    assert (actual >= 0).all()
    assert (actual > 0).any()


# timm's transformers.


@pytest.mark.parametrize(
    ("kind", "extra"),
    [("vit_tiny_patch16_224", 1), ("deit_tiny_distilled_patch16_224", 2), ("vit_small_patch14_reg4_dinov2", 5)],
)
def test_timm_is_followed_through_its_fused_attention(kind: str, extra: int) -> None:
    """The rollout of what its own unfused layers compute, with distillation and register tokens too."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    size = {"img_size": 56} if "patch14" in kind else {"img_size": 64}
    net = timm.create_model(kind, num_classes=3, depth=3, **size)
    model_pass = make_pass(make_model(net, cam_layer="blocks"), random_images(2, size["img_size"]))
    found, attentions = explain("attention_rollout", model_pass), []
    for block in net.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _, __, output: attentions.append(output))
    net(model_pass.images)
    rows = rolled(torch.stack(attentions).double().numpy())[:, 0, extra:]
    expected = upsample(torch.tensor(rows).float().unflatten(1, (4, 4))[:, None], (size["img_size"],) * 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
