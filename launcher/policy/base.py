"""Base profile documents: what a sandbox looks like before any grant. The format is described in profiles/default.yaml.

Reading gives plain data, complete after `extends` is followed, which `launcher.compile.base.BaseProfile` wraps and the
policy cache keeps; a launch does not come here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from launcher.canonical import sha256_hex
from launcher.capability.limits import COUNT, SIZE, TABLE, Limits, parse_quantity
from launcher.capability.scope import absolute_path
from launcher.errors import DocumentError, UsageError
from launcher.policy import reading
from launcher.policy.document import INTEGER, MAP, TEXT, Node, load
from launcher.policy.model import COMMIT, RUN_WITH

if TYPE_CHECKING:
    from collections.abc import Callable

    Reader = Callable[[Node, str], Any]

# Every mount of a view has these; a document can only add noexec.
_ALWAYS = ("ro", "nosuid", "nodev")
_OPTIONS = (*_ALWAYS, "noexec")
# Design section 7: /run holds the host's sockets; /proc, /dev and /sys are made for the job or do not exist.
_NEVER_MOUNTED = ("/run", "/var/run", "/proc", "/dev", "/sys")
_NEVER_WHOLE = ("/", "/etc", "/var", "/home", "/root")
_MAX_EXTENDS = 8  # a chain is read at launch time; nobody needs a long one
_MOST_MODE = 0o1777  # permission bits and sticky; never set-id

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"  # never `..`
_HANDLE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_WORD = r"[a-z][a-z0-9-]*"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
# A glob on names of variables: `*` and `?` beside their characters.
_VARIABLE_GLOB = r"[A-Za-z_*?][A-Za-z0-9_*?]*"


def load_base(handle: str, read: Callable[[str], tuple[bytes, str]]) -> dict[str, Any]:
    """The base profile `handle` as complete data. `read(handle)` gives a document's bytes and its file's name.

    Raises DocumentError with file, line and column; what `read` raises passes through.
    """
    chain: list[dict[str, Any]] = []
    wanted = handle
    seen: list[str] = []
    while wanted:
        data, file = read(wanted)
        chain.append(parse_base(data, file))
        seen.append(wanted)
        parent = chain[-1]["extends"]
        if parent in seen or len(seen) == _MAX_EXTENDS:
            reason = f"{' extends '.join([*seen, parent])}: the chain is circular or longer than {_MAX_EXTENDS}"
            raise DocumentError(reason, place=chain[-1]["places"].get("extends", file))
        wanted = parent
    whole = chain.pop()
    while chain:
        whole = _over(whole, chain.pop())
    return _complete(handle, whole)


def parse_base(data: bytes, file: str) -> dict[str, Any]:
    """One document as data, with only what is written in it. Raises DocumentError."""
    node = load(data, file)
    sections = reading.mapping(node, "a base profile", (*_SECTIONS, *_TOP, "capabilities", "deny"))
    result: dict[str, Any] = {"digests": [sha256_hex(data)], "places": {}, "grants": [], "denies": []}
    for name, keys in _SECTIONS.items():
        if name in sections:
            members = reading.mapping(sections[name], f"`{name}`", keys)
            result[name] = {key: keys[key](member, f"`{name}.{key}`") for key, member in members.items()}
            result["places"].update({f"{name}.{key}": str(member.place) for key, member in members.items()})
    for name, reader in _TOP.items():
        if name in sections:
            result[name] = reader(sections[name], f"`{name}`")
    profile = result.pop("profile", {})
    result["description"] = profile.get("description", "")
    result["extends"] = profile.get("extends", "")
    result["places"]["extends"] = result["places"].get("profile.extends", str(node.place))
    _capabilities(sections, file, result)
    return result


def _capabilities(sections: dict[str, Node], file: str, result: dict[str, Any]) -> None:
    if not {"capabilities", "deny"} & set(sections):
        return
    from launcher.policy.notation import Rules

    rules = Rules("profile:" + file.rpartition("/")[2].rpartition(".")[0])
    if "capabilities" in sections:
        rules.capabilities(sections["capabilities"])
    if "deny" in sections:
        rules.map(sections["deny"], deny=True)
    result["grants"] = [grant.to_data() for grant in rules.grants]
    result["denies"] = [grant.to_data() for grant in rules.denies]


def _over(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """`child` laid over `parent`: keys of sections replace, limits and variables replace name by name, rules add."""
    result = {**parent, **{key: child[key] for key in child if key in _TOP}}
    for name in _SECTIONS:
        result[name] = {**parent.get(name, {}), **child.get(name, {})}
    result["limits"] = {**parent.get("limits", {}), **child.get("limits", {})}
    variables = [source.get("environment", {}).get("set", {}) for source in (parent, child)]
    result["environment"]["set"] = {**variables[0], **variables[1]}
    for key in ("digests", "grants", "denies"):
        result[key] = parent[key] + child[key]
    result["places"] = {**parent["places"], **child["places"]}
    result["description"] = child["description"] or parent["description"]
    return result


_REQUIRED = {
    "view": ("mounts", "merged", "tmpfs", "etc", "devices", "proc", "hostname"),
    "commands": ("path", "programs"),
    "environment": ("set", "pass"),
    "network": ("loopback",),
    "syscalls": ("table",),
}
_DEFAULTS: dict[str, dict[str, Any]] = {"syscalls": {"add": []}, "landlock": {"minimum_abi": 1}}


def _complete(handle: str, data: dict[str, Any]) -> dict[str, Any]:
    for section, keys in _REQUIRED.items():
        for key in keys:
            if key not in data.get(section, {}):
                hint = "write `extends: default` in `profile` to take over the rest"
                raise DocumentError(f"the base profile {handle!r} does not say {section}.{key}", hint=hint)
    for section, values in _DEFAULTS.items():
        data[section] = {**values, **data.get(section, {})}
    return {
        "handle": handle,
        "description": data["description"],
        "digest": "sha256:" + sha256_hex("".join(data["digests"]).encode()),
        **{name: data[name] for name in _SECTIONS if name != "profile"},
        "limits": data.get("limits", {}),
        "run_with": data.get("run_with", "granted"),
        "commit": data.get("commit", "always"),
        "grants": data["grants"],
        "denies": data["denies"],
        "place": data["places"]["extends"].partition(":")[0],
    }


# Values. Each reader takes the node and how it is called in messages, and returns plain data.


def _matching(pattern: str, form: str) -> Reader:
    def read(node: Node, what: str) -> str:
        value = reading.text(node, what)
        if not re.fullmatch(pattern, value):
            reading.refuse(node.place, f"{what}: {value!r} is not {form}")
        return value

    return read


def _list(reader: Reader) -> Reader:
    def read(node: Node, what: str) -> list[Any]:
        values = [reader(item, f"an item of {what}") for item in reading.items(node, what)]
        return [value for place, value in enumerate(values) if value not in values[:place]]

    return read


def _path(node: Node, what: str) -> str:
    value = reading.text(node, what)
    try:
        canonical = absolute_path(value)
    except UsageError as error:
        reading.refuse(node.place, f"{what}: {error.message}")
    if canonical != value:
        reading.refuse(node.place, f"{what}: {value!r} is not in canonical form", f"write {canonical}")
    return value


def _below_proc(node: Node, what: str) -> str:
    value = _path(node, what)
    if not value.startswith("/proc/"):
        reading.refuse(node.place, f"{what}: {value!r} is not below /proc", "other paths do not exist unless mounted")
    return value


def _mountable(node: Node, what: str) -> str:
    value = _path(node, what)
    for place in _NEVER_MOUNTED:
        if value == place or value.startswith(place + "/"):
            hint = "sockets ignore read-only mounts, and kernel interfaces are the launcher's to make"
            reading.refuse(node.place, f"{what}: {value!r} cannot be part of a view", hint)
    if value in _NEVER_WHOLE:
        reading.refuse(node.place, f"{what}: {value!r} cannot be mounted as a whole", "name the directories below it")
    return value


def _mount(node: Node, what: str) -> dict[str, Any]:
    if node.kind == TEXT:
        target = _mountable(node, what)
        return {"target": target, "source": target, "options": list(_ALWAYS), "optional": False}
    members = reading.mapping(node, what, ("target", "source", "options", "optional"))
    target = _mountable(_needed(node, members, "target", what), f"{what}: target")
    given = reading.words(members["options"], f"{what}: options", _OPTIONS) if "options" in members else ()
    return {
        "target": target,
        "source": _mountable(members["source"], f"{what}: source") if "source" in members else target,
        "options": [option for option in _OPTIONS if option in given or option in _ALWAYS],
        "optional": "optional" in members and reading.boolean(members["optional"], f"{what}: optional"),
    }


def _private(node: Node, what: str) -> str:
    value = _path(node, what)
    if value in (*_NEVER_WHOLE, "/dev", "/usr") or value.startswith(("/proc", "/sys")):
        reading.refuse(node.place, f"{what}: {value!r} cannot be a private file system")
    return value


def _tmpfs(node: Node, what: str) -> dict[str, Any]:
    members = reading.mapping(node, what, ("target", "size", "inodes", "mode"))
    needed = {key: _needed(node, members, key, what) for key in ("target", "size", "inodes", "mode")}
    return {
        "target": _private(needed["target"], f"{what}: target"),
        "size": _quantity(needed["size"], "size", SIZE),
        "inodes": _quantity(needed["inodes"], "inodes", COUNT),
        "mode": _mode(needed["mode"], f"{what}: mode"),
    }


def _needed(node: Node, members: dict[str, Node], key: str, what: str) -> Node:
    if key not in members:
        reading.refuse(node.place, f"{what} has no `{key}`")
    return members[key]


def _quantity(node: Node, name: str, unit: str) -> int:
    if node.kind not in (TEXT, INTEGER):
        reading.refuse(node.place, f"{name} must be a number or text with a unit")
    return parse_quantity(name, node.value, unit, node.place)


def _mode(node: Node, what: str) -> int:
    value = reading.text(node, what)
    if not re.fullmatch("[0-7]{3,4}", value) or int(value, 8) > _MOST_MODE:
        hint = 'set-id bits are never allowed; write for example "1777"'
        reading.refuse(node.place, f"{what}: {value!r} is not an octal mode of at most 1777", hint)
    return int(value, 8)


def _proc(node: Node, what: str) -> dict[str, Any]:
    members = reading.mapping(node, what, ("masked", "readonly"))
    return {
        key: _list(_below_proc)(members[key], f"{what}: {key}") if key in members else []
        for key in ("masked", "readonly")
    }


def _variables(node: Node, what: str) -> dict[str, str]:
    result = {}
    for name, member in reading.mapping(node, what).items():
        if not re.fullmatch(_VARIABLE, name):
            reading.refuse(node.keys[name], f"{what}: {name!r} is not the name of a variable")
        result[name] = reading.line(member, f"{what}: {name}")
    return result


def _limits(node: Node, what: str) -> dict[str, int]:
    members = reading.mapping(node, what, tuple(TABLE))
    return {name: Limits.parse(name, _scalar(member), member.place) for name, member in members.items()}


def _scalar(node: Node) -> Any:
    if isinstance(node.value, (dict, list)) or node.kind == MAP:
        reading.refuse(node.place, "a limit is one value, not a collection")
    return node.value


def _abi(node: Node, what: str) -> int:
    return reading.integer(node, what, 0, 99)


def _one_of(words: tuple[str, ...]) -> Reader:
    return lambda node, what: reading.word(node, what, words)


_boolean: Reader = reading.boolean
_line: Reader = reading.line

_SECTIONS: dict[str, dict[str, Reader]] = {
    "profile": {"description": _line, "extends": _matching(_HANDLE, "a handle")},
    "view": {
        "mounts": _list(_mount),
        "merged": _list(_matching(_NAME, "a name in /")),
        "tmpfs": _list(_tmpfs),
        "etc": _list(_matching(f"{_NAME}(/{_NAME})*", "a name below /etc")),
        "devices": _list(_matching("[a-z]+", "a device of /dev")),
        "proc": _proc,
        "hostname": _matching("[a-z0-9-]{1,63}", "a host name"),
    },
    "commands": {"path": _list(_path), "programs": _list(_path)},
    "environment": {"set": _variables, "pass": _list(_matching(_VARIABLE_GLOB, "a name or glob of variables"))},
    "network": {"loopback": _boolean},
    "syscalls": {"table": _matching(_WORD, "a table's name"), "add": _list(_matching(_WORD, "a group's name"))},
    "landlock": {"minimum_abi": _abi},
}
_TOP: dict[str, Reader] = {"limits": _limits, "run_with": _one_of(RUN_WITH), "commit": _one_of(COMMIT)}
