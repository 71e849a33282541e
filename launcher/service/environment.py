"""The job's environment: what the base sets, what is granted of the caller's, and nothing else."""

from __future__ import annotations

import os

from launcher.capability.glob import parse_segment, segment_matcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def job_environment(profile: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Name to value. `given` are the --env settings, already judged by compile."""
    section = profile["environment"]
    user = profile["user"]
    passing = [segment_matcher(parse_segment(text)) for text in section["pass"]]
    denied = [segment_matcher(parse_segment(text)) for text in section["denied"]]
    environment = {"HOME": user["home"], "USER": user["name"], "LOGNAME": user["name"], "PWD": profile["workspace"]}
    environment.update(section["set"])
    for source in (os.environ, given):
        environment.update({name: value for name, value in source.items() if _passes(name, passing, denied)})
    return environment


def _passes(name: str, passing: list[Callable[[str], bool]], denied: list[Callable[[str], bool]]) -> bool:
    return any(matches(name) for matches in passing) and not any(matches(name) for matches in denied)
