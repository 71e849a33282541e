"""The acceptance cases that came with the project (copied to `cases/`), as far as an algebra can judge them.

The cases are written in the notation of another product. This file translates that notation; where a case and the design
differ the design wins, and the case is in DIFFERENCES with our verdict and the reason.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from launcher.capability import Grant, Limits, Permissions, Scope, canonical_path
from launcher.capability.kinds import KINDS

CASES_FILE = os.path.join(os.path.dirname(__file__), "cases", "capability.json")
SCOPE = Scope("/home/user", "/project")

DIFFERENCES: dict[str, tuple[str, str]] = {
    "M055": ("deny", "no shell text is parsed: `(git` is no program"),
    "M075": (
        "allow",
        "only a final `:*` is special, so `npm:run:*` is the program `npm:run`; the pattern is `npm run:*`",
    ),
    "M173": ("allow", "a deny of an argument by glob (`+*`) does not exist; deny `git push`, or the ref at the server"),
    "M191": ("allow", "the command may start; the file is not in its view, which is judged as file.read"),
    "M193": ("allow", "a program may start without network; its sockets lead nowhere (own network namespace)"),
    "M195": ("allow", "as M193: no list of programs that use the network, enforcement in the kernel"),
    "M203": ("allow", "as M193: the host is judged where the connection is made"),
    "M253": ("deny", "`git` with the subcommands status and log does not grant a bare `git`"),
}

# What stands for everything: the layer under a policy that only denies.
EVERYTHING = [
    Grant("file", ("read", "write", "append", "delete"), ("/**",)),
    Grant("path", ("read", "write"), ("/**", "/")),
    Grant("network", ("http", "https"), ("*",)),
    Grant("cmd", ("execute",), ("*",)),
    Grant("keychain", ("read",), ("**",)),
    *[Grant(name, ("execute",), ()) for name in ("sh", "js", "py")],
]
# The entries of the danger list that the cases name, in our language.
DANGER = [
    *[
        Grant("cmd", ("execute",), (text,), {}, "danger:commands")
        for text in (
            "rm -rf:*", "rm --recursive --force:*", "sudo", "chmod", "chown", "dd", "kill", "pkill", "killall", "scp",
            "/**/mkfs", "/**/mkfs.*", "git push --force:*", "codex --full-auto:*",
        )
    ],
    Grant("file", ("read", "write"), ("~/.ssh/**", "/**/.env", "/**/.env.*", "/**/*.pem"), {}, "danger:secrets"),
    Grant("file", ("write",), ("/**/.codex/**", "/**/.claude/**"), {}, "danger:agents"),
]  # fmt: skip
_MODES = {"r": ("read",), "w": ("write",), "rw": ("read", "write")}


def load() -> list[dict[str, Any]]:
    with open(CASES_FILE, encoding="utf-8") as file:
        cases: list[dict[str, Any]] = json.load(file)
    return cases


def rules(value: Any) -> list[Grant]:
    """Allow or deny of a case, in any of its shapes."""
    if value is True:
        return list(EVERYTHING)
    if isinstance(value, list):
        return [rule for entry in value for rule in entry_rules(entry)]
    return [rule for name, inner in (value or {}).items() for rule in map_rules(name, inner)]


def entry_rules(entry: str) -> list[Grant]:
    kind, _, rest = entry.partition(":")
    if kind == "fs":
        mode, _, pattern = rest.partition(":")
        return [Grant("file", _MODES[mode], (pattern or "/**",))]
    if kind == "cmd":
        return [Grant("cmd", ("execute",), (rest or "*",))]
    if kind == "network":
        return [Grant("network", ("http", "https"), ("*",))]
    return [Grant(kind, ("execute",), ())] if kind in {"js", "py", "sh"} else []


def map_rules(name: str, inner: Any) -> list[Grant]:
    if name == "cmd":
        return [Grant("cmd", ("execute",), (pattern,)) for pattern in inner]
    if name == "filesystem":
        return [Grant("file", (mode,), tuple(patterns)) for mode, patterns in inner.items()]
    if name == "network":
        return [Grant("network", ("http", "https"), tuple(inner["domains"]))]
    return [Grant(name, ("execute",), ())] if inner else []


def permissions_of(policy: dict[str, Any]) -> Permissions:
    inner = policy.get("capabilities", {})
    denies = rules(policy.get("deny")) + rules(inner.get("deny")) + rules({"cmd": policy.get("deny_cmd", [])})
    if policy.get("deny") is True:
        denies = [Grant(name, kind.operations, ()) for name, kind in KINDS.items()]
    keychain = policy.get("keychain", {})
    only_denies = "allow" not in policy
    grants = list(EVERYTHING) if only_denies else rules(policy["allow"])
    if "allow" in keychain:
        patterns = tuple(text.replace("{projectname}", "demo") for text in keychain["allow"])
        grants = [Grant("keychain", ("read",), patterns)]
    denies += [Grant("keychain", ("read",), tuple(keychain["deny"]))] if "deny" in keychain else []
    opted_in = "danger" in policy
    return Permissions(grants, denies if opted_in else denies + DANGER, Limits(), SCOPE)


def judged(case: dict[str, Any]) -> bool:
    kind, value = case["operation"]["kind"], case["operation"]["value"]
    if kind == "gate":
        return gate(case["policy"]["gate"], value)
    held = permissions_of(case["policy"])
    if kind == "cmd":
        return held.decide("cmd", "execute", value.split()).allowed
    if kind in {"js", "py"}:
        return held.decide(kind, "execute", {"js": "node", "py": "python3"}[kind]).allowed
    if kind == "network":
        host = value.partition("://")[2].partition("/")[0].rpartition("@")[2]
        return held.decide("network", "https", host, method="GET", path="/").allowed
    if kind == "keychain":
        return held.decide("keychain", "read", value).allowed
    path = canonical_path(value, SCOPE)
    if "setup" in case:  # the caller resolves symbolic links before it asks
        link, _, target = case["setup"].partition(" -> ")
        path = path.replace(link, target, 1)
    return held.decide("file", kind.removeprefix("fs."), path).allowed


_GATE = {
    "keychain": Grant("keychain", ("read",), ("**",)),
    "network": Grant("network", ("http", "https"), ("*",)),
    "filesystem": Grant("file", ("read", "write"), ("/**",)),
    "sh": Grant("sh", ("execute",), ()),
}


def gate(declared: dict[str, Any], value: str) -> bool:
    grants: list[Grant] = []
    for source in (declared.get("needs"), declared.get("granted_tier")):
        for name, inner in (source or {}).items():
            grants += command_grants(inner) if name == "cmd" else [_GATE[name]] if inner is True else []
    held = Permissions(grants, [], Limits(), SCOPE)
    if value.startswith("cmd:"):
        return held.decide("cmd", "execute", value[4:].split()).allowed
    wanted = _GATE.get(value)
    return held.holds(value, "execute") if wanted is None else held.holds(wanted.type, wanted.operations[0])


def command_grants(inner: Any) -> list[Grant]:
    if isinstance(inner, list):
        return [Grant("cmd", ("execute",), tuple(inner))]
    patterns = [
        name if detail == "*" else f"{name} {word}:*" for name, detail in inner.items() for word in (detail or [""])
    ]
    return [Grant("cmd", ("execute",), tuple(patterns))]


CASES = load()


def test_the_cases_are_all_here() -> None:
    assert len(CASES) > 60
    assert set(DIFFERENCES) <= {case["id"] for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(case: dict[str, Any]) -> None:
    expected, why = DIFFERENCES.get(case["id"], (case["expected"], case["why"]))
    assert ("allow" if judged(case) else "deny") == expected, why


@pytest.mark.parametrize("name", sorted(DIFFERENCES))
def test_a_difference_is_one(name: str) -> None:
    case = next(case for case in CASES if case["id"] == name)
    assert DIFFERENCES[name][0] != case["expected"]
