"""Parsed policies, configuration, base profiles and grants from one `marshal` file, so that a launch parses no YAML.

YAML costs 30 ms of a launch and SQLite 7; loading this costs a tenth of one. The file is trusted only when

- its owner is this process's user or root and nobody else can write it (marshal is no format for strangers' bytes);
- every source has the same device, inode, owner, mode, size, mtime and ctime as when it was read;
- no source changed within `RACY_NS` before the file was written: such a source could have changed again without a
  later time stamp, because the kernel's clock for files ticks every few milliseconds (git calls it racily clean).

On the launch path; `loading` does the work when the file cannot be used.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys

from launcher.canonical import sha256_hex
from launcher.policy.config import Config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.identity.user import User
    from launcher.policy.model import Policy
    from launcher.policy.paths import Locations

    Stamp = tuple[int, ...] | None

FORMAT = 2
RACY_NS = 100_000_000
FILE_NAME = "policies.marshal"
MAX_BYTES = 64 << 20
_MAGIC = f"mlsandbox policies {FORMAT} {sys.hexversion:x}\n".encode()
_CTIME = 6  # where the change time stands in a stamp

# Another version of these reads another meaning out of the same bytes.
_CODE = (
    *("base", "config_document", "constraints", "danger", "document", "egress_document", "extends"),
    *("keychain_document", "loading", "notation", "patterns", "policy_document", "presets", "queue_document"),
    *("reading", "secret_source"),
)


class Snapshot:
    """All that is configured at one moment. `bases` maps handles to the data of base profiles, complete.

    `digest` names the content where it came from the cache, and is "" where documents were just read.
    """

    __slots__ = ("_data", "config", "digest")

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self.digest: str = data.get("digest", "")
        self.config = Config.from_data(data["config"])

    @property
    def stamps(self) -> dict[str, Stamp]:
        """What the sources looked like when this was read, by path: `stamps` of these paths says whether it is old."""
        return dict(self._data["stamps"])

    @property
    def bases(self) -> dict[str, dict[str, Any]]:
        """Base profiles by handle, as `launcher.policy.base.load_base` gives them."""
        return dict(self._data["bases"])

    def handles(self) -> list[str]:
        """The handles of all policies, sorted."""
        return sorted(self._data["policies"])

    def policy(self, handle: str) -> Policy | None:
        """The policy with `extends` followed, or None."""
        from launcher.policy.model import Policy

        data = self._data["policies"].get(handle)
        return None if data is None else Policy.from_data(data)

    def policies_for(self, user: User) -> list[Policy]:
        """The policies that apply to `user`, by handle: named by `applies_to` or granted, and not excluded.

        A revocation of the user, or of any group or role of his, beats every way of being granted.
        """
        from launcher.policy.model import AppliesTo, Policy

        effects = {(policy, effect) for policy, effect, kind, name in self._data["grants"] if _is(user, kind, name)}
        policies = self._data["policies"]
        return [
            Policy.from_data(policies[handle])
            for handle in self.handles()
            if (handle, "exclude") not in effects
            and ((handle, "grant") in effects or AppliesTo.from_data(policies[handle]["applies_to"]).covers(user))
        ]


def _is(user: User, kind: str, name: str) -> bool:
    if kind == "user":
        return user.name == name
    return name in (user.groups if kind == "group" else user.roles)


def load(locations: Locations, *, strict: bool | None = None) -> Snapshot:
    """Everything below `locations`, from the cache or from the documents.

    `strict` refuses what others than root could have written: always in the host's layout, and to be asked for
    whenever somebody launches for somebody else. Raises ConfigurationError and DocumentError.
    """
    careful = locations.system or bool(strict)
    data = read_cache(locations, strict=careful)
    if data is None:
        from launcher.policy.loading import load_and_cache

        data = load_and_cache(locations, strict=careful)
    return Snapshot(data)


def load_again(locations: Locations, known: Snapshot | None, *, strict: bool | None = None) -> Snapshot:
    """`known`, read before by this process, where no source has changed since; else as `load`."""
    # without a digest it was just read from documents, which may have been changed within a tick of the clock
    if known is not None and known.digest and all(stamp(path) == seen for path, seen in known.stamps.items()):
        return known
    return load(locations, strict=strict)


def load_for(locations: Locations, user: User, now: float, *, strict: bool | None = None) -> list[Policy]:
    """The policies that apply to `user`, without the grants that expired before `now` (seconds since the epoch)."""
    policies = load(locations, strict=strict).policies_for(user)
    for policy in policies:
        policy.grants = tuple([grant for grant in policy.grants if not _expired(grant.constraints, now)])
    return policies


def _expired(constraints: dict[str, Any], now: float) -> bool:
    moment = constraints.get("expires_at")
    return moment is not None and moment <= now


# -- the file ----------------------------------------------------------------------------------------------------------


def cache_file(locations: Locations, *, strict: bool) -> str:
    """The cache of these locations: what was read without care is never used where care was asked for."""
    return f"{locations.cache}/{'strict-' if strict else ''}{FILE_NAME}"


def read_cache(locations: Locations, *, strict: bool) -> dict[str, Any] | None:
    """What the cache holds, or None when there is none, it is not trusted, or a source has changed."""
    found = trusted_bytes(cache_file(locations, strict=strict))
    if found is None:
        return None
    written_ns, body = found
    checksum = len(_MAGIC) + 64
    if not body.startswith(_MAGIC) or sha256_hex(body[checksum:]).encode() != body[len(_MAGIC) : checksum]:
        return None
    # Whole and of a trusted writer, of this format and this interpreter: nothing is left that could go wrong.
    data: dict[str, Any] = marshal.loads(body[checksum:])  # noqa: S302  owner and checksum were just judged
    data["digest"] = body[len(_MAGIC) : checksum].decode()
    if data["locations"] != identity(locations) or not is_current(data["stamps"], written_ns):
        return None
    return data


def is_current(stamps: dict[str, Stamp], written_ns: int) -> bool:
    """Whether every source is as it was, and none changed so shortly before `written_ns` that it might not be."""
    for path, known in stamps.items():
        if stamp(path) != known:
            return False
        if known is not None and len(known) > _CTIME and known[_CTIME] > written_ns - RACY_NS:
            return False
    return True


def trusted_bytes(path: str) -> tuple[int, bytes] | None:
    """When the file was last changed (ns) and what it holds; None unless only root or this user could have written."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        owned = status.st_uid in {0, os.geteuid()} and not status.st_mode & 0o022
        if not owned or not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            return None
        body = os.read(descriptor, status.st_size)
        return (status.st_ctime_ns, body) if len(body) == status.st_size else None
    finally:
        os.close(descriptor)


def write_cache(locations: Locations, data: dict[str, Any], *, strict: bool) -> bool:
    """Replaces the cache at once; False where that is not possible, which costs time and nothing else."""
    path = cache_file(locations, strict=strict)
    body = marshal.dumps({**data, "locations": identity(locations)})
    return replace_file(path, _MAGIC + sha256_hex(body).encode() + body)


def replace_file(path: str, content: bytes) -> bool:
    """Puts `content` at `path` of the cache directory at once; False where that is not possible."""
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            return False
    except OSError:
        return False
    return True


# -- what the cache depends on -----------------------------------------------------------------------------------------


def identity(locations: Locations) -> list[str]:
    """What makes two sets of locations the same."""
    return [locations.config, locations.policies, locations.local_profiles, locations.profiles, locations.grants]


def stamp(path: str) -> Stamp:
    """What shows that a file is as it was; None when there is none. A trailing `/` asks for a directory's identity
    only: whose it is and who may write in it, not what it holds.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    whose = (status.st_dev, status.st_ino, status.st_mode, status.st_uid)
    if path.endswith("/"):
        return whose
    return (*whose, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def sources(locations: Locations, files: list[str], *, strict: bool) -> list[str]:
    """The paths whose stamps the cache depends on; `files` are the documents that were found."""
    found = [locations.config, locations.policies, *locations.profile_directories(), locations.grants, *files]
    if strict:
        from launcher.policy.trust import ancestors

        tops = [
            locations.config,
            f"{locations.policies}/.",
            locations.grants,
            *[f"{d}/." for d in locations.profile_directories()],
        ]
        found += [above.rstrip("/") + "/" for top in tops for above in ancestors(top)]
    here = os.path.dirname(__file__)
    return [*dict.fromkeys(found), *[f"{here}/{name}.py" for name in _CODE]]


def stamps(paths: list[str]) -> dict[str, Stamp]:
    """The stamps of all paths, now."""
    return {path: stamp(path) for path in paths}
