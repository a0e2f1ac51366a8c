"""Rows of a comparison: one job, done by MAVIS and by every peer that can do it, and its floor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness import Floor, Reading, Work, counting, figure, in_turn
from subject import Subject

Samples = tuple[int, int]
"""Forwards and backwards."""

OURS = "MAVIS"


@dataclass(frozen=True)
class Row:
    """One job.

    Attributes:
        subject: the model and its images.
        sides: the job as each side does it, MAVIS under `OURS`.
        floor: least samples of the job, or the work itself where it is not made of complete passes.
        goal: goal of the design, as text.
        absent: peers that are left out, with the reason.
        agrees: largest difference between values of MAVIS and of a peer, where they mean the same.
    """

    subject: Subject
    sides: Mapping[str, Work]
    floor: Samples | Work
    goal: str
    absent: Mapping[str, str] = field(default_factory=dict)
    agrees: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    notes: str = ""


@dataclass
class Measured:
    """A row's figures.

    Attributes:
        floor: CPU seconds.
        readings: per side.
        agrees: per peer the largest difference of values.
    """

    floor: float
    readings: Mapping[str, Reading]
    agrees: Mapping[str, float]

    def ratio(self, side: str) -> float:
        """Seconds of a side as a multiple of the floor."""
        return self.readings[side].median / self.floor

    def against(self, side: str) -> float:
        """Seconds of a peer as a multiple of MAVIS's."""
        return self.readings[side].median / self.readings[OURS].median


def measure(row: Row, rounds: int, *, warm: bool = True) -> Measured:
    """All sides and the floor, in turn."""
    with counting(row.subject.net, row.subject.peer) as count:
        if isinstance(row.floor, tuple):
            sample = Floor(row.subject.net, row.subject.images, n_samples=_samples(row.subject))
            readings = in_turn({"floor": sample.measure, **row.sides}, count, rounds, warm)
            floor = sample.seconds(*row.floor)
        else:
            readings = in_turn({"floor": row.floor, **row.sides}, count, rounds, warm)
            floor = readings["floor"].median
    del readings["floor"]
    if readings[OURS].failure:
        raise RuntimeError(readings[OURS].failure)
    return Measured(floor, readings, {name: difference() for name, difference in row.agrees.items()})


def _samples(subject: Subject) -> int:
    """Samples for one measurement of the floor: some tenths of a second, less for a small job."""
    return min(128 if subject.size <= 64 else 32, 8 * subject.count)


def cells(name: str, row: Row, figures: Measured) -> list[str]:
    """A row of the printed table."""
    peers = [
        f"{side} {figure(figures.ratio(side))} (×{figure(figures.against(side), 1)})"
        if not reading.failure
        else f"{side} fails"
        for side, reading in figures.readings.items()
        if side != OURS
    ]
    ours = figures.readings[OURS]
    return [
        name,
        figure(figures.ratio(OURS)),
        "; ".join(peers) or "none",
        f"{ours.forwards:,} / {ours.backwards:,}",
        row.goal,
    ]


def body(row: Row, figures: Measured) -> dict[str, object]:
    """Body of a row in the JSON file."""
    return {
        "goal": row.goal,
        "notes": row.notes,
        "floor seconds": figures.floor,
        "sides": dict(figures.readings),
        "ratio to floor": {side: figures.ratio(side) for side in figures.readings},
        "peer to MAVIS": {side: figures.against(side) for side in figures.readings if side != OURS},
        "absent": dict(row.absent),
        "largest difference": dict(figures.agrees),
    }
