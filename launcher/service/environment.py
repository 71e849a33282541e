"""The job's environment: what the base sets, what is granted of the caller's, and nothing else."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from launcher.service.request import Request


def job_environment(profile: Mapping[str, Any], request: Request, passing: Iterable[str]) -> dict[str, str]:
    """Name to value. The --env settings of `request` are judged by compile already; `passing` is what `passing_names`
    said.
    """
    user = profile["user"]
    environment = {"HOME": user["home"], "USER": user["name"], "LOGNAME": user["name"], "PWD": profile["workspace"]}
    environment.update(profile["environment"]["set"])
    for source in (request.inherited, request.environment):
        environment.update({name: source[name] for name in passing if name in source})
    return environment


def passing_names(profile: Mapping[str, Any], request: Request) -> list[str]:
    """Which variables of the caller and of --env reach the job, sorted. A function of names: values play no part."""
    from launcher.capability.glob import parse_segment, segment_matcher

    section = profile["environment"]
    granted = [segment_matcher(parse_segment(text)) for text in section["pass"]]
    denied = [segment_matcher(parse_segment(text)) for text in section["denied"]]
    return [name for name in sorted({*request.inherited, *request.environment}) if _passes(name, granted, denied)]


def _passes(name: str, granted: list[Callable[[str], bool]], denied: list[Callable[[str], bool]]) -> bool:
    return any(matches(name) for matches in granted) and not any(matches(name) for matches in denied)
