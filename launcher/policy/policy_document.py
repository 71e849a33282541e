"""Policy documents, read into the model. Pure: bytes in, a Policy out."""

from __future__ import annotations

from launcher.canonical import sha256_hex
from launcher.capability.limits import TABLE as LIMITS
from launcher.capability.limits import Limits
from launcher.policy import reading
from launcher.policy.document import TEXT, Node, load
from launcher.policy.model import COMMIT, RUN_WITH, AppliesTo, Policy
from launcher.policy.notation import Rules
from launcher.policy.reading import refuse

SUFFIXES = (".yaml", ".yml", ".json")
MAX_HANDLE = 64
_HANDLE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")

POLICY_KEYS = (
    *("name", "description", "extends", "base", "applies_to"),
    *("capabilities", "allow", "deny", "allow_danger", "limits", "run_with", "commit"),
)
_SUBJECTS = ("users", "groups", "roles")


def valid_handle(handle: str) -> bool:
    """Whether `handle` can name a policy: 1 to 64 of letters, digits, `_ - .`, not beginning with `.` or `-`."""
    return 0 < len(handle) <= MAX_HANDLE and handle[0] not in ".-" and _HANDLE.issuperset(handle)


def handle_of(name: str) -> str:
    """The handle of a file name, or "" when it is not a policy document's name (editors' backups, hidden files)."""
    for suffix in SUFFIXES:
        stem = name.removesuffix(suffix)
        if stem != name and valid_handle(stem):
            return stem
    return ""


def read_policy(data: bytes, file: str, handle: str) -> Policy:
    """The policy in `data`. `file` is shown in errors and places. Raises DocumentError."""
    node = _root(load(data, file), "policy")
    members = reading.mapping(node, "policy", POLICY_KEYS)
    return _policy(node, members, handle, _digest(data))


def _root(node: Node, key: str) -> Node:
    members = reading.mapping(node, "the document", (key,))
    if key not in members:
        refuse(node.place, f"the document has no `{key}:`", f"everything stands below `{key}:`")
    return members[key]


def _digest(data: bytes) -> str:
    return "sha256:" + sha256_hex(data)


def _policy(node: Node, members: dict[str, Node], handle: str, digest: str) -> Policy:
    rules = _rules(members, handle)
    return Policy(
        handle,
        name=_line(members, "name"),
        description=_text(members, "description"),
        extends=_handles(members, "extends"),
        base=_handle(members["base"], "base") if "base" in members else "",
        applies_to=_applies_to(members["applies_to"]) if "applies_to" in members else None,
        grants=tuple(rules.grants),
        denies=tuple(rules.denies),
        limits=read_limits(members["limits"]) if "limits" in members else None,
        run_with=_word(members, "run_with", RUN_WITH),
        commit=_word(members, "commit", COMMIT),
        place=node.place,
        digest=digest,
    )


def _rules(members: dict[str, Node], handle: str) -> Rules:
    rules = Rules(handle)
    if "capabilities" in members:
        rules.capabilities(members["capabilities"])
    if "allow" in members:
        rules.map(members["allow"], deny=False)
    if "deny" in members:
        rules.map(members["deny"], deny=True)
    if "allow_danger" in members:
        rules.mean_danger(reading.texts(members["allow_danger"], "allow_danger"))
    return rules


def _line(members: dict[str, Node], key: str) -> str:
    return reading.line(members[key], key) if key in members else ""


def _text(members: dict[str, Node], key: str) -> str:
    return reading.text(members[key], key) if key in members else ""


def _word(members: dict[str, Node], key: str, known: tuple[str, ...]) -> str:
    return reading.word(members[key], key, known) if key in members else known[0]


def _handle(node: Node, what: str) -> str:
    handle = reading.text(node, what)
    if not valid_handle(handle):
        refuse(node.place, f"{handle!r} is not a handle", "a handle is the file's name without .yaml")
    return handle


def _handles(members: dict[str, Node], key: str) -> tuple[str, ...]:
    if key not in members:
        return ()
    return tuple(dict.fromkeys([_handle(item, f"an item of {key}") for item in reading.items(members[key], key)]))


def _applies_to(node: Node) -> AppliesTo:
    members = reading.mapping(node, "applies_to", _SUBJECTS)
    return AppliesTo(**{key: _people(members, key) for key in _SUBJECTS})


def _people(members: dict[str, Node], key: str) -> tuple[str, ...]:
    if key not in members:
        return ()
    names = []
    for item in reading.items(members[key], key):
        name = reading.line(item, f"an item of {key}")
        if "*" in name:
            refuse(item.place, f"{name!r}: names have no wildcards", "name a group, or list the users")
        names.append(name)
    return tuple(dict.fromkeys(names))


def read_limits(node: Node) -> Limits:
    """A `limits:` mapping. Raises DocumentError with the place of the wrong key or value."""
    members = reading.mapping(node, "limits", tuple(LIMITS))
    values: dict[str, int | None] = {}
    for name, value in members.items():
        if value.kind not in {TEXT, "integer", "number"}:
            refuse(value.place, f"{name} must be a number or a text with a unit")
        values[name] = Limits.parse(name, value.value, value.place)
    return Limits(**values)
