"""Errors for code that uses MAVIS: ``except mavis.errors.StoreError``; what each means: `mavis.core.errors`."""

from mavis.core.errors import (
    BadParameter,
    ContractError,
    DataError,
    FileError,
    MavisError,
    ModelError,
    PluginError,
    ProtocolError,
    StoreError,
    UnknownName,
    UnreadableImage,
)

__all__ = [
    "BadParameter",
    "ContractError",
    "DataError",
    "FileError",
    "MavisError",
    "ModelError",
    "PluginError",
    "ProtocolError",
    "StoreError",
    "UnknownName",
    "UnreadableImage",
]
