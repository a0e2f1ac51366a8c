"""The command, as ``python -m mavis``."""

from mavis.cli import app

app()
