"""A protocol that has the least of everything, for tests whose subject is not what is measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SECTIONS: Mapping[str, Any] = {
    "variants": {"per_group": 1},
    "explainers": {
        "controls": ["random"],
        "settings": {
            "integrated_gradients": {"steps": 8},
            "smoothgrad": {"samples": 2},
            "rise": {"masks": 8},
            "oracle": {"draws": 1},
        },
    },
    "metrics": {"nsrg": {"points": 5}, "srg": {"points": 5}, "deletion": {"points": 5}},
    "reliability": {"fractions": [0.3]},
    "reliance": {"draws": 1},
    "gates": {"controls": {"against": ["random"]}},
    "aggregate": {"bootstrap": 100, "permutations": 100},
}
"""What differs from ``quick``."""


def write_light_protocol(folder: Path, **sections: Any) -> Path:
    """Writes the protocol ``light``; ``sections`` are changed beside those that make it light."""
    head = {"protocol": "light", "schema": 1, "status": "preview", "about": "Few samples of everything."}
    path = folder / "light.yaml"
    path.write_text(yaml.safe_dump({**head, "extends": "quick", **SECTIONS, **sections}), encoding="utf-8")
    return path
