"""What the configuration and the launch agree on about secrets: their sources' names, and a job's variables. Pure."""

from __future__ import annotations

SOURCES = ("file", "command", "keyring")


def variable(name: str) -> str:
    """The variable of a job in which the placeholder for the secret `name` stands: `example-api` -> `EXAMPLE_API`."""
    return "".join([c if c.isascii() and c.isalnum() else "_" for c in name]).upper()
