"""What a comparison is: one job, done by MAVIS and by every peer that can do it, and the work it cannot do without."""

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
        subject: whose images.
        sides: what does the job, MAVIS under `OURS`.
        floor: samples that the job cannot do without, or the work itself where it is not whole passes.
        goal: of the design, in words.
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
        """To the floor."""
        return self.readings[side].median / self.floor

    def against(self, side: str) -> float:
        """How many times as long as MAVIS a peer takes."""
        return self.readings[side].median / self.readings[OURS].median


def measure(row: Row, rounds: int, *, warm: bool = True) -> Measured:
    """All sides and the floor, in turn."""
    with counting(row.subject.net, row.subject.peer) as count:
        if isinstance(row.floor, tuple):
            sample = Floor(row.subject.net, row.subject.images, most=_samples(row.subject))
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
    """For one measurement of the floor: some tenths of a second, less for a small job."""
    return min(128 if subject.size <= 64 else 32, 8 * subject.count)


def cells(name: str, row: Row, found: Measured) -> list[str]:
    """A row of the printed table."""
    peers = [
        f"{side} {figure(found.ratio(side))} (×{figure(found.against(side), 1)})"
        if not reading.failure
        else f"{side} fails"
        for side, reading in found.readings.items()
        if side != OURS
    ]
    ours = found.readings[OURS]
    return [
        name,
        figure(found.ratio(OURS)),
        "; ".join(peers) or "none",
        f"{ours.forwards:,} / {ours.backwards:,}",
        row.goal,
    ]


def body(row: Row, found: Measured) -> dict[str, object]:
    """What the JSON file holds."""
    return {
        "goal": row.goal,
        "notes": row.notes,
        "floor seconds": found.floor,
        "sides": dict(found.readings),
        "ratio to floor": {side: found.ratio(side) for side in found.readings},
        "peer to MAVIS": {side: found.against(side) for side in found.readings if side != OURS},
        "absent": dict(row.absent),
        "largest difference": dict(found.agrees),
    }
