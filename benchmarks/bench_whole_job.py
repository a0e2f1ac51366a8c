"""The whole job: twelve metrics of five or eight explainers, by a loop over Captum and Quantus and by MAVIS.

    python benchmarks/bench_whole_job.py --images 32 --explainers five --json reports/whole_job.json

Both sides explain the same images with the same network and, per metric, take the same number of steps, subsets, draws
and maps. `DIFFERS` lists the differences. pytest-benchmark runs a small form of it.
"""

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import mavis  # noqa: F401 (first, so that its torchvision hook is there before a peer imports torchvision)

# isort: split
import plugins
import pytest
from harness import Count, Floor, Reading, counting, figure, measured, missing, one_thread, table, write
from subject import Subject, make_explainers, make_metrics

GRADIENT = ("saliency", "input_x_gradient", "guided_backprop", "cam", "guided_gradcam")
SLOW = ("integrated_gradients", "smoothgrad", "occlusion")
CHOICES = {"five": GRADIENT, "eight": (*GRADIENT, *SLOW)}

SETTINGS = {
    "input_x_gradient": {"zero": "black"},
    "integrated_gradients": {"steps": 32},
    "smoothgrad": {"samples": 16},
    "occlusion": {"window": 0.125, "stride": 0.125},
}
STEPS, PATCHES, SUBSETS, DRAWS, REPEATS = 48, 64, 100, 10, 2
METRICS = {
    "pixel_flipping": {"points": STEPS + 1},
    "pixel_flipping@patches": {"points": PATCHES + 1},
    "faithfulness_correlation": {"subsets": SUBSETS},
    "max_sensitivity": {"radius": 0.2, "draws": DRAWS},
    "avg_sensitivity": {"radius": 0.2, "draws": DRAWS},
    "mprt_top_down": {"repeats": REPEATS},
    "random_logit": {},
    "pointing_game": {},
    "relevance_mass": {},
    "relevance_rank": {},
    "gini": {},
    "entropy": {},
}
LAYERS = 12
DIFFERS = """
Pixel flipping: 48 steps on both sides. Quantus removes single channels, so features_in_step = 64² / 16 makes 48 steps.
Pixel flipping: Quantus orders channels of pixels, MAVIS 16 × 16 cells.
Selectivity: 64 steps on both sides. To MAVIS both are shares of one order; what is common to them is asked once.
MPRT: 24 maps on both sides. Quantus: 23 modules and the original model. MAVIS: 12 layers with their norms, twice.
Max and average sensitivity: 10 draws. Quantus draws for each of them, MAVIS reads both from the same draws.
Grad-CAM: Captum's as it comes, not cut at zero; here that is MAVIS's `cam` times a constant.
Guided Grad-CAM: zero where the CAM is negative. Such ties MAVIS removes in two orders, Quantus in that of its sort.
Guided Grad-CAM: a plug-in of benchmarks/plugins.py, unless MAVIS has its own.
Baselines: black in Captum, the mean colour in MAVIS; without effect on the work.
""".strip().splitlines()


@dataclass(frozen=True)
class Inherent:
    """Model samples per image that the job cannot do without, however it is written.

    A map of plain gradients and one of Grad-CAM come from one pass; guided backpropagation needs its own.
    """

    forwards: int
    backwards: int

    @classmethod
    def from_explainers(cls, names: tuple[str, ...]) -> "Inherent":
        inner = len({step / STEPS for step in range(1, STEPS)} | {step / PATCHES for step in range(1, PATCHES)})
        outputs = len(names) * inner + 1 + SUBSETS
        maps = 1 + DRAWS + LAYERS * REPEATS + 1
        guided = any(name.startswith("guided") for name in names)
        passes = 1 + guided + 32 * ("integrated_gradients" in names) + 16 * ("smoothgrad" in names)
        only_forward = 64 * ("occlusion" in names)
        return cls(outputs + maps * (passes + only_forward), maps * passes)


@dataclass
class Result:
    """Both sides of the comparison.

    Attributes:
        images: of the job.
        explainers: names.
        ours: MAVIS's whole job, per round.
        theirs: per explainer the peers' map and metrics.
        inherent: samples per image.
        floor: cost of a model sample.
    """

    images: int
    explainers: tuple[str, ...]
    inherent: Inherent
    floor: Floor
    ours: Reading = field(default_factory=Reading)
    theirs: dict[str, dict[str, Reading]] = field(default_factory=dict)

    @property
    def floor_seconds(self) -> float:
        return self.floor.seconds(self.images * self.inherent.forwards, self.images * self.inherent.backwards)

    @property
    def peer(self) -> Reading:
        """The peers' sum."""
        readings = [reading for sides in self.theirs.values() for reading in sides.values()]
        seconds = sum(reading.median for reading in readings if reading.seconds)
        return Reading([seconds], sum(r.forwards for r in readings), sum(r.backwards for r in readings))

    def rows(self) -> list[list[str]]:
        """Rows of the printed table."""
        floor = self.floor_seconds
        inherent = (self.images * self.inherent.forwards, self.images * self.inherent.backwards)
        lines = [("floor", floor, *inherent), ("MAVIS", self.ours.median, self.ours.forwards, self.ours.backwards)]
        if self.theirs:
            lines.append(("Quantus + Captum", self.peer.median, self.peer.forwards, self.peer.backwards))
        return [
            [name, figure(seconds, 1), f"{forwards:,}", f"{backwards:,}", figure(seconds / floor)]
            for name, seconds, forwards, backwards in lines
        ]

    def body(self) -> dict[str, object]:
        """Body of the JSON file."""
        return {
            "images": self.images,
            "explainers": list(self.explainers),
            "floor": {"seconds": self.floor_seconds, "per image": self.inherent, **_costs(self.floor)},
            "mavis": self.ours,
            "peers": {"sum": self.peer, **self.theirs} if self.theirs else missing("quantus"),
            "ratio to floor": self.ours.median / self.floor_seconds,
            "ratio of peers": self.peer.median / self.ours.median if self.theirs else None,
            "differs": DIFFERS,
        }


def _costs(floor: Floor) -> dict[str, object]:
    return {"forward ms": floor.forward_ms, "forward and backward ms": floor.both_ms, "batch": floor.batch}


def by_mavis(subject: Subject, names: tuple[str, ...]) -> Callable[[], object]:
    """The job as one block of MAVIS."""
    plugins.ensure()
    methods = make_explainers({name: SETTINGS.get(name, {}) for name in names})
    metric_components = make_metrics(METRICS)
    return lambda: subject.score(methods, metric_components)


def by_peers(subject: Subject, name: str, count: Count) -> dict[str, Reading]:
    """One explainer's map and metrics, as a user of Captum and Quantus writes them."""
    import peers

    explain = peers.explain_func(name)
    images, targets, _ = subject.arrays()
    maps = []
    readings = {"map": measured(lambda: maps.append(explain(subject.peer, images, targets)), count)}
    for label, metric in peers.job_metrics(subject.size).items():

        def score(metric: Callable[[], object] = metric) -> object:
            return peers.score(metric(), subject, maps[0], explain)

        readings[label] = measured(score, count)
    return readings


def compare(images: int, choice: str, rounds: int, *, with_peers: bool = True) -> Result:
    """Both sides in turn: MAVIS before the peers' first explainer, after their last, and evenly between."""
    names = CHOICES[choice]
    subject = Subject(images)
    by_mavis(Subject(2), names[:2])()
    work = by_mavis(subject, names)
    result = Result(images, names, Inherent.from_explainers(names), Floor(subject.net, subject.images))
    slots = {round(len(names) * number / max(1, rounds - 1)) for number in range(rounds)}
    with counting(subject.net, subject.peer) as count:
        for number in range(len(names) + 1):
            result.floor.measure()
            if number in slots:
                reading = measured(work, count)
                result.ours = Reading([*result.ours.seconds, *reading.seconds], reading.forwards, reading.backwards)
            if with_peers and number < len(names) and not missing("quantus"):
                result.theirs[names[number]] = by_peers(subject, names[number], count)
    result.floor.measure()
    return result


@pytest.fixture(scope="module")
def small() -> Subject:
    one_thread()
    return Subject(8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.benchmark(group="whole job, 8 images, saliency and CAM")
def bench_mavis(benchmark, small):
    benchmark.pedantic(by_mavis(small, ("saliency", "cam")), rounds=2, warmup_rounds=1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.benchmark(group="whole job, 8 images, saliency and CAM")
def bench_peers(benchmark, small):
    if missing("quantus"):
        pytest.skip(missing("quantus"))
    benchmark.pedantic(
        lambda: [by_peers(small, name, Count()) for name in ("saliency", "cam")], rounds=2, warmup_rounds=1
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The whole job by Captum and Quantus, and by MAVIS.")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--explainers", choices=CHOICES, default="five")
    parser.add_argument("--rounds", type=int, default=3, help="of MAVIS, spread among the peers' explainers")
    parser.add_argument("--without-peers", action="store_true", help="MAVIS and the floor only")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    one_thread()
    result = compare(options.images, options.explainers, options.rounds, with_peers=not options.without_peers)
    print(table(["side", "CPU s", "forwards", "backwards", "× floor"], result.rows()))
    if result.theirs:
        print(f"\nMAVIS is {figure(result.peer.median / result.ours.median)} times as fast.")
    print("\n".join(f"- {line}" for line in DIFFERS))
    write(options.json, "whole job", result.body())


if __name__ == "__main__":
    main()
