"""Launching the probes and reading what they print."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandboxed import Host, Ran

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = "probes"
CAPABILITIES: dict[str, Any] = {
    "file": [
        {"patterns": [f"{LIBRARY}/**", "in/**"], "operations": ["read"]},
        {"patterns": ["out/**"], "operations": ["read", "write", "delete"]},
    ],
    "path": [
        {"patterns": [f"{LIBRARY}/**", "in/**"], "operations": ["read"]},
        {"patterns": ["out/**"], "operations": ["read", "write"]},
    ],
    "py": True,
}
_LIMITS = {"max_wall_time": 60, "max_processes": 64, "max_open_files": 256, "max_disk": "16MiB", "max_files": 1000}


def install_probes(host: Host) -> None:
    """Copies the probes to where the job may read them, and makes the granted trees."""
    for name in sorted(os.listdir(f"{HERE}/probes")):
        if name.endswith(".py"):
            with open(f"{HERE}/probes/{name}", encoding="utf-8") as file:
                host.write(f"{LIBRARY}/tests/attack/probes/{name}", file.read())
    host.write("in/plain.txt", "granted\n")
    host.write("in/sub/deep.txt", "granted too\n")
    host.write("out/old.txt", "before\n")
    host.write("out/sub/old.txt", "before\n")
    host.write("secret/key", "s3cret\n")


def program(probe: str, only: str = "") -> list[str]:
    """The command line that runs one probe."""
    code = f"import sys; sys.path.insert(0, {LIBRARY!r}); from tests.attack.probes import {probe}, harness; harness.main({only!r})"
    return ["python3", "-I", "-c", code]


def merged(*capabilities: Mapping[str, Any]) -> dict[str, Any]:
    """Capabilities beside each other; lists are joined."""
    found: dict[str, Any] = {}
    for row in capabilities:
        for key, value in row.items():
            found[key] = [*found[key], *value] if isinstance(value, list) and key in found else value
    return found


class Report:
    """The lines of one probe: `report.all("a18", "EPERM")` asserts every attempt of attack 18."""

    def __init__(self, ran: Ran) -> None:
        self.ran = ran
        self.lines = dict(line.split("\t", 1) for line in ran.out.splitlines() if "\t" in line)

    @classmethod
    def of(
        cls, host: Host, probe: str, capabilities: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None, only: str = "",
    ) -> Report:  # fmt: skip
        host.policy(merged(CAPABILITIES, capabilities or {}), limits={**_LIMITS, **(limits or {})})
        report = cls(host.launch(*program(probe, only), timeout=100))
        assert report.ran.status == 0, report.ran
        return report

    def all(self, prefix: str, *allowed: str) -> None:
        """Every attempt whose id is `prefix`, or begins with it and a dot, had one of these outcomes."""
        found = {
            name: told
            for name, told in self.lines.items()
            if name == prefix or name.startswith((f"{prefix}.", f"{prefix} "))
        }
        assert found, f"the probe made no attempt {prefix}: {self.ran}"
        wrong = {name: told for name, told in found.items() if told not in allowed}
        assert not wrong, f"{wrong}, wanted {allowed}"

    def __getitem__(self, name: str) -> str:
        assert name in self.lines, f"the probe made no attempt {name}: {self.ran}"
        return self.lines[name]


def clean(host: Host, name: str) -> None:
    """Removes a tree of the workspace."""
    shutil.rmtree(os.path.join(host.workspace, name), ignore_errors=True)
