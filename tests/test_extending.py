"""What docs/extending.md shows works: the page's code is the example package, and the package is found and run."""

import re
import shlex
import sys
import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import mavis
from mavis.cli import app
from mavis.core import registry
from mavis.core.attribution_maps import Maps
from mavis.datasets.loading.open import open_data

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "plugin_package"
PAGE = (HERE.parent / "docs" / "extending.md").read_text(encoding="utf-8")

MY_MAPS = """
from mavis import MapMetric

def brightness():
    "How bright each pixel is."
    return lambda run, targets: run.images.mean(1, keepdim=True)

def peak():
    "The strongest cell's share of the absolute mass."
    def score(maps, batch):
        magnitude = maps.ascending_magnitude
        return magnitude[:, -1] / magnitude.sum(1).clamp_min(1e-12)
    return MapMetric(score)
"""


@pytest.fixture(autouse=True)
def as_before(monkeypatch, tmp_path):
    """An empty working folder; what a test registers or imports is forgotten after it."""
    registry.load_plugins()
    kept = {kind: dict(found.entries) for kind, found in registry.REGISTRIES.items()}
    modules = set(sys.modules)
    monkeypatch.setattr(registry, "_loaded", set(registry._loaded))
    monkeypatch.chdir(tmp_path)
    yield
    for kind, found in registry.REGISTRIES.items():
        found.entries.clear()
        found.entries.update(kept[kind])
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in ("mavis_example", "my_maps"):
            del sys.modules[name]


@pytest.fixture
def installed(monkeypatch):
    """The example package as if it had been installed: importable, its entry points known."""
    points = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    group = registry.ENTRY_POINTS
    found = EntryPoints(EntryPoint(name, value, group) for name, value in points[group].items())
    monkeypatch.syspath_prepend(str(PACKAGE))
    monkeypatch.setattr(registry, "entry_points", lambda *, group: found.select(group=group))
    registry._loaded.discard("built-in")
    registry.load_plugins()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def run(**asked):
    """A small run of the example model; scores by explainer and metric."""
    found = mavis.evaluate("two_shades", "planted_square", groups=["shade"], limit=8, device="cpu", **asked)
    assert not found.findings.failures
    scores = found.to_frame()
    assert set(scores["status"]) == {"ok"}
    return scores.groupby(["explainer", "metric"])["value"].mean()


def test_the_page_shows_the_package():
    """Every Python block of the page is a file of the package, word for word, and no file is left out."""
    shown = set(blocks("python"))
    files = {path.read_text(encoding="utf-8") for path in (PACKAGE / "mavis_example").glob("[!_]*.py")}
    assert shown == files
    assert blocks("toml")[0] in (PACKAGE / "pyproject.toml").read_text(encoding="utf-8")


def test_an_entry_point_brings_every_kind_of_plug_in(installed):
    """The package's explainer, metrics, data set and model are registered and name the entry point."""
    for kind, name in (
        ("explainer", "max_gradient"),
        ("metric", "top_share"),
        ("metric", "mirror"),
        ("dataset", "pictures"),
        ("model", "two_shades"),
    ):
        assert registry.REGISTRIES[kind][name].origin == "entry point mavis_example"


def test_plug_ins_of_a_package_run(installed):
    """An explainer, a model and a metric of every kind go through a run and give the values that they must.

    The model's logit for "bright" is the mean over the pixels of how far their colours' sum exceeds 1.5, so its
    gradient is the same number or 0 at every pixel; one map costs one forward and one backward.
    """
    metrics = ["top_share", "half_gone", "quarters", "mirror", "work", "valid"]
    found = run(explainers=["max_gradient"], metrics=metrics)["max_gradient"]
    assert set(found.index) == set(metrics)
    assert found["work"] == 3
    assert found["valid"] == 1
    assert found["mirror"] == pytest.approx(1, abs=1e-6)
    assert 0.125 < found["top_share"] < 0.5


def test_a_constant_map_has_the_metric_s_chance_value(installed):
    """The strongest eighth of the cells of a constant map holds an eighth of its mass, of a one-cell map all of it."""
    one = torch.zeros(64, 64)
    one[:4, :4] = 1
    maps = Maps.from_values(torch.stack([torch.ones(64, 64), torch.zeros(64, 64), one]), 16)
    assert registry.metrics["top_share"].create().score(maps, None).tolist() == [0.125, 0.125, 1.0]


def test_a_folder_of_pictures_is_data(installed, tmp_path):
    """The data set reads its table and its images, and says which columns there are when one is missing."""
    for name, level in (("a.png", 250), ("b.png", 5)):
        Image.new("RGB", (40, 40), (level,) * 3).save(tmp_path / name)
    table = pd.DataFrame({"file": ["a.png", "b.png"], "shade": ["bright", "dark"], "series": ["x", "x"]})
    table.to_csv(tmp_path / "labels.csv", index=False)
    data = open_data(f"pictures:{tmp_path}", target="shade", split=None)
    assert data.classes == ("bright", "dark")
    assert data.load(["b.png", "a.png"]).labels.tolist() == [1, 0]
    with pytest.raises(mavis.MavisError, match="no column 'age'; it has shade, series"):
        open_data(f"pictures:{tmp_path}", target="age", split=None)


def test_a_decorator_is_enough(installed):
    """A function decorated where it stands, as in a notebook, is found by name and run."""

    @mavis.explainer("inverse", source="a test", needs={"gradient"})
    def inverse():
        """The negative gradient."""
        return lambda run, targets: -run.input_gradient(targets)

    @mavis.metric("mean_value", source="a test", category="complexity", higher_is_better=True)
    def mean_value():
        """Mean of the map."""
        return mavis.MapMetric(lambda maps, batch: maps.values.mean((1, 2)))

    found = run(explainers=["inverse"], metrics=["mean_value"])
    assert found["inverse", "mean_value"] == pytest.approx(-found_gradient(), rel=1e-5)


def found_gradient():
    """Mean pooled gradient of the example model over the same eight images, in closed form.

    With C = H·W pixels the gradient of ReLU(±(r+g+b−1.5)) averaged over the pixels is ±1/C per channel where it fires:
    summed over channels and averaged over pixels, 3/C times the share of pixels that fire, with the answer's sign.
    """
    data = open_data("planted_square", target="shade", split=None)
    images = data.load(sampled(data)).images
    over = (images.sum(1) > 1.5).double().mean((1, 2))
    bright = ((images.sum(1) - 1.5).relu().mean((1, 2)) > (1.5 - images.sum(1)).relu().mean((1, 2))).double()
    pixels = images.shape[2] * images.shape[3]
    return float((3 / pixels * torch.where(bright > 0, over, over - 1)).mean())


def sampled(data):
    from mavis.datasets.loading.sampling import stratified_sample
    from mavis.protocol.loading import load_protocol

    rules = load_protocol("quick")
    return stratified_sample(data.table(), "shade", rules.data.n_per_group.target, 8, rules.seed)


def test_a_file_is_registered_by_command(installed, tmp_path):
    """The page's two commands write the page's lines into mavis.toml, and both plug-ins run."""
    (tmp_path / "my_maps.py").write_text(MY_MAPS, encoding="utf-8")
    for line in blocks("bash")[0].splitlines():
        done = CliRunner().invoke(app, shlex.split(line)[1:])
        assert done.exit_code == 0, done.output
    assert (tmp_path / "mavis.toml").read_text(encoding="utf-8") == blocks("toml")[1]
    found = run(explainers=["brightness"], metrics=["peak"])
    assert 1 / 256 < found["brightness", "peak"] < 1


def test_a_mavis_toml_is_read(installed, tmp_path):
    """A working folder's mavis.toml is enough: its plug-ins are there without any command."""
    (tmp_path / "my_maps.py").write_text(MY_MAPS, encoding="utf-8")
    (tmp_path / "mavis.toml").write_text(blocks("toml")[1], encoding="utf-8")
    entry = registry.explainers["brightness"]
    assert entry.origin == "mavis.toml"
    assert entry.traits.needs == {"forward"}
    assert registry.metrics["peak"].traits.category == "complexity"
