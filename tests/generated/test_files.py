"""Hostile files of weights and images: read as their well-behaved twins are, or refused in a line."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from mavis.datasets.loading.checked_data import complete_dataset
from mavis.datasets.loading.image_files import LabelledImages, read_image
from mavis.datasets.loading.image_inspection import inspect_images
from mavis.models.loading.weights import load_weights

from .hostile_checkpoints import DAMAGES, PREFIXES, SIBLINGS, STATES, UNSEEN, WRAPPINGS, make_network, to_bytes, wrap
from .hostile_pictures import PICTURES, TOO_DEEP, Picture, pictures
from .refusals import try_to

PLACES = st.floats(0, 1, exclude_max=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose files each case writes anew."""
    return tmp_path_factory.mktemp("files")


@given(
    state=st.sampled_from(list(STATES)),
    prefixes=st.lists(st.sampled_from(PREFIXES), max_size=2),
    keys=st.lists(st.sampled_from(WRAPPINGS), max_size=2),
    siblings=st.lists(st.sampled_from(list(SIBLINGS)), max_size=3, unique=True),
    kind=st.sampled_from(["zip", "legacy", "safetensors"]),
    damage=st.sampled_from(["none"] * 5 + list(DAMAGES)),
    place=PLACES,
)
def test_weights_are_those_of_the_twin_or_refused(
    folder: Path,
    state: str,
    prefixes: list[str],
    keys: list[str],
    siblings: list[str],
    kind: str,
    damage: str,
    place: float,
) -> None:
    twin = make_network()
    change, outcome = STATES[state]
    named = {"".join(prefixes) + name: tensor for name, tensor in twin.state_dict().items()}
    content = to_bytes(wrap(change(named), keys, siblings), kind)
    assume(kind == "zip" or damage not in UNSEEN)
    path = folder / ("a.safetensors" if kind == "safetensors" and content[8:9] == b"{" else "a.pt")
    path.write_bytes(DAMAGES[damage](content, place))
    net = torch.nn.Sequential(*(type(m)(*args) for m, args in zip(twin, ((3, 2, 3), (2,), (), (2, 2)), strict=True)))
    _, refusal = try_to(lambda: load_weights(net, path))
    if not refusal:
        assert outcome != "refused"
        loaded = net.state_dict()
        assert all(loaded[name].equal(tensor) for name, tensor in twin.state_dict().items())
    elif damage == "none":
        assert outcome != "same", refusal


@given(picture=pictures(), damage=st.sampled_from(["none"] * 5 + sorted(DAMAGES.keys() - UNSEEN)), place=PLACES)
def test_an_image_is_read_as_its_twin_or_costs_itself(
    folder: Path, picture: Picture, damage: str, place: float
) -> None:
    names = ["a.png", "b.png", "c.png"]
    for name in names[1:]:
        Image.fromarray(PICTURES[:17]).save(folder / name)
    (folder / "a.png").write_bytes(DAMAGES[damage](picture.content, place))
    groups = pd.DataFrame({"side": ["l", "r", "l"]}, index=names)
    data = complete_dataset(LabelledImages("files", "side", {"side": ("l", "r")}, "made", folder, groups, 16))
    look = inspect_images(data, names)
    assert set(names[1:]) <= set(look.hashes)
    if "a.png" in look.unreadable:
        assert damage != "none" or picture.mode in TOO_DEEP, look.unreadable
        assert look.unreadable["a.png"].strip()
        assert len(look.unreadable["a.png"].splitlines()) == 1
        assert try_to(lambda: data.load(["a.png"]))[1]
        return
    assert picture.mode not in TOO_DEEP
    picture.shown.save(folder / "twin.bmp")
    assert data.load(names).images[0].equal(read_image(folder / "twin.bmp", 16))
