"""Everything that a job was refused as one list of plain rows, each with the grant to ask for.

A row is `capability operation resource reason layer grant`: `grant` is a capability string as it stands in a list
below `capabilities:` (or `allow:`) of a policy, `limits: {..}` for a limit, and "" where no grant helps, because a rule
denies it or because it never reaches the host. Pure.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Row = dict[str, object]

DENIED = "DENIED"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+,=-")
_NO_GRANT = "no grant of "
_HIT = {
    "max_memory": "a process of the job was killed for it",
    "max_processes": "the kernel refused to start a process or a thread",
    "max_disk": "a file system that the job writes to was full at its end",
    "max_files": "a file system that the job writes to had no file left at its end",
    "max_output": "what came after it was dropped",
}


def of_execs(refused: Iterable[dict[str, Any]]) -> list[Row]:
    """Images that were stopped before they ran."""
    return [
        _row("cmd", "execute", item["command"], item["reason"], "kernel", _exec_grant(item))
        for item in refused
    ]  # fmt: skip


def of_commit(refused: Iterable[dict[str, Any]], workspace: str) -> list[Row]:
    """Staged changes that did not reach the host."""
    rows = []
    for item in refused:
        capability, _, operation = str(item["operation"]).partition(".")
        if capability:
            # where a rule or a size decided, the same grant again would change nothing
            asked = str(item["reason"]).startswith(_NO_GRANT)
            grant = path_grant(capability, operation, str(item["path"]), workspace) if asked else ""
            rows.append(_row(capability, operation, item["path"], item["reason"], "commit", grant))
    return rows


def of_egress(events: Iterable[dict[str, Any]]) -> list[Row]:
    """Connections and names that the proxy refused."""
    return [
        _row(
            item["capability"], item["operation"], item["resource"], item["detail"].get("reason", ""), "egress",
            str(item["detail"].get("missing", "")),
        )
        for item in events
        if item["outcome"] == DENIED
    ]  # fmt: skip


def of_limits(hit: Iterable[str], ended: str | None, values: dict[str, Any]) -> list[Row]:
    """The limits that the job ran into, and among them the one that ended it."""
    rows = []
    for limit in hit:
        value = values.get(limit)
        grant = f"limits: {{{limit}: {value * 2}}}" if isinstance(value, int) else ""
        reason = "the limit ended the job" if limit == ended else _HIT[limit]
        rows.append(_row("limits", limit, value, reason, "kernel", grant))
    return rows


def of_observed(rows: Iterable[dict[str, Any]], workspace: str) -> list[Row]:
    """What --trace-denials saw: claims."""
    return [
        _row(
            row["capability"], row["operation"], row["resource"], row["reason"], "runtime",
            string(row["capability"], row["operation"], str(row["resource"]), workspace), observed=True,
        )
        for row in rows
    ]  # fmt: skip


def of_runtime(events: Iterable[dict[str, Any]], workspace: str) -> list[Row]:
    """What the ML library inside the job says that it refused: claims."""
    rows = []
    for item in events:
        if item["outcome"] == DENIED:
            kind, operation = str(item["capability"]), str(item["operation"])
            resource = str(item.get("detail", {}).get("canonical") or item["resource"])
            grant = string(kind, operation, resource, workspace)
            rows.append(_row(kind, operation, item["resource"], "the ML library refused it", "runtime", grant))
    return rows


def unique(rows: Sequence[Row]) -> list[Row]:
    """Each refusal once: what was seen by several is told by the first."""
    kept: dict[tuple[object, ...], Row] = {}
    for row in rows:
        grant = row["grant"]
        kept.setdefault((grant,) if grant else (row["capability"], row["operation"], row["resource"]), row)
    return list(kept.values())


def string(capability: str, operation: str, resource: str, workspace: str) -> str:
    """The capability string that would cover `resource`, and nothing else where that can be said."""
    if (capability, operation) == ("path", "read"):  # of a directory: what is in it
        return f"path.read:{path_pattern(resource, workspace).rstrip('/')}/**"
    if capability in ("file", "path"):
        return path_grant(capability, operation, resource, workspace)
    if capability in ("device", "socket"):
        return f"{capability}:{literal(resource)}"
    if capability in ("sh", "py", "js"):
        return capability
    if capability == "cmd":
        return f"cmd:{resource}" if _splits_back(resource) else ""
    if capability in ("network", "database"):
        return f"{capability}.{operation}:{resource}" if resource else ""
    return f"{capability}:{resource}" if resource else capability


def path_grant(capability: str, operation: str, path: str, workspace: str) -> str:
    """`file.read:@base/src/a.txt`, or the absolute path outside of the workspace."""
    return f"{capability}.{operation}:{path_pattern(path, workspace)}"


def path_pattern(path: str, workspace: str) -> str:
    """The pattern that is this path alone."""
    below = workspace.rstrip("/") + "/"
    if path == workspace and workspace != "/":
        return "@base"
    return f"@base/{literal(path[len(below) :])}" if path.startswith(below) else literal(path)


def literal(path: str) -> str:
    """`path` with what a pattern would read as a wildcard escaped."""
    return "".join([f"\\{char}" if char in "*?[\\" else char for char in path])


def quoted(text: str) -> str:
    """`text` as one item of a YAML list, quoted where it must be."""
    if text and _PLAIN.issuperset(text) and text[0] not in "@%-:=," and not text.endswith(":"):
        return text
    from launcher.canonical import canonical_json

    return canonical_json(text).decode("ascii")


def _exec_grant(item: dict[str, Any]) -> str:
    command = str(item["command"])
    if item["places"] or not str(item["reason"]).startswith(_NO_GRANT):
        return ""
    words = command.split(" ")
    name = words[0].rpartition("/")[2]
    return f"cmd:{' '.join([name, *words[1:]])}" if _splits_back(command) else f"cmd:{name}"


def _splits_back(command: str) -> bool:
    """Whether the words of a command can stand in a pattern as they are: no blank in one, no wildcard."""
    words = command.split(" ")
    return all(words) and not any(char in command for char in "*?[\\\n\t\"'")


def _row(
    capability: object, operation: object, resource: object, reason: object, layer: str, grant: str, *,
    observed: bool = False,
) -> Row:  # fmt: skip
    row: Row = {
        "capability": str(capability), "operation": str(operation), "resource": str(resource), "reason": str(reason),
        "layer": layer, "grant": grant,
    }  # fmt: skip
    if observed:
        row["observed"] = True
    return row
