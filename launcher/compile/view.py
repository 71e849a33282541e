"""The profile's `view`: the base profile's, as this host has it and as the limits allow."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.compile.base import BaseProfile

_SYSTEM = ["ro", "nosuid", "nodev"]


def view(base: BaseProfile, root_links: dict[str, str], limits: dict[str, Any]) -> dict[str, Any]:
    """Names in / that are links on the host (merged /usr) are links in the view, the others are mounted."""
    given = base.data["view"]
    merged = [(name, root_links[name]) for name in given["merged"] if name in root_links]
    mounts = [
        *given["mounts"],
        *[
            {"target": f"/{name}", "source": f"/{name}", "options": _SYSTEM, "optional": True}
            for name, target in merged
            if not target
        ],
    ]
    return {
        "mounts": sorted(mounts, key=lambda mount: str(mount["target"])),  # parents before children
        "symlinks": [[target, f"/{name}"] for name, target in merged if target],
        "tmpfs": [_lowered(tmpfs, limits) for tmpfs in given["tmpfs"]],
        **{key: given[key] for key in ("etc", "devices", "proc", "hostname")},
    }


def _lowered(tmpfs: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    """A private file system is never larger than what the job may write at all."""
    return {
        **tmpfs,
        "size": _least(tmpfs["size"], limits["max_disk"]),
        "inodes": _least(tmpfs["inodes"], limits["max_files"]),
    }


def _least(size: int, limit: int | None) -> int:
    return size if limit is None else min(size, limit)
