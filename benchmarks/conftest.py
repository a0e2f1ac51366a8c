"""The benchmarks import each other by name, as they do when run as programs."""

import sys
from pathlib import Path

import mavis  # noqa: F401 (first, so that its torchvision hook is there before a peer imports torchvision)

sys.path.insert(0, str(Path(__file__).parent))
