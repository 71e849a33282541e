"""The version of the installed package, or of the checkout."""

from __future__ import annotations

import os
from importlib import metadata


def version() -> str:
    """`0.1.0`. Raises OSError where there is neither metadata nor a pyproject.toml."""
    try:
        return metadata.version("mlsandbox")
    except metadata.PackageNotFoundError:
        return _of_checkout(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def _of_checkout(root: str) -> str:
    import tomllib

    with open(f"{root}/pyproject.toml", "rb") as stream:
        return str(tomllib.load(stream)["project"]["version"])
