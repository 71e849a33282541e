"""ML programs that were read before: what the reader said of a source, and the code that it compiled.

Reading untrusted source takes a sandbox of its own, and the job would compile the program once more. Both are functions
of the source, its name and the front end alone, so a file in the cache directory holds the answer under their digest.

Who can poison it? Only the launcher writes it, with what the reader gave back. The reader saw one source and nothing
else, so a source that took it over could lie about itself alone, as it could at every launch; what it declares is
checked again each time, like an answer that was just given, and held against the grants. The code is never executed by
the launcher, which hands the bytes on; it runs inside the job's sandbox, where the source itself could do as much. And
an entry belongs to one user: the same source launched by another is read anew.

The file is believed as the policy cache is: ours or root's, not writable by others, whole.
"""

from __future__ import annotations

import os
import sys

import launcher.language
from launcher.canonical import canonical_json, sha256_hex
from launcher.policy.cache import replace_file, trusted_bytes
from launcher.service.remembered import code_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.identity.user import User

FORMAT = 1
LARGEST = 1 << 20  # bytes of an entry; a 500-line program takes 60,000
_SLOTS = 128  # files at most: a program that falls on another's slot replaces it
_MAGIC = f"mlsandbox program {FORMAT} {sys.hexversion:x}\n".encode()
_DIGEST = 64
_LENGTH = 8  # hexadecimal digits of the answer's length


class KnownProgram:
    """The place of one source of one user."""

    __slots__ = ("_key", "_path")

    def __init__(self, source: bytes, name: str, user: User, cache: str) -> None:
        owner = [user.name, user.uid]
        self._key = sha256_hex(canonical_json([FORMAT, _front_end(), owner, name]) + b"\n" + source)
        slot = int(self._key[:8], 16) % _SLOTS
        self._path = f"{cache}/program-{os.geteuid()}-{slot:02x}"

    def find(self) -> tuple[bytes, bytes] | None:
        """The reader's answer and the compiled program (empty where there is none), or None."""
        found = trusted_bytes(self._path)
        head = _MAGIC + self._key.encode()
        if found is None or not found[1].startswith(head):
            return None
        checksum, body = found[1][len(head) : len(head) + _DIGEST], found[1][len(head) + _DIGEST :]
        if sha256_hex(body).encode() != checksum:
            return None
        end = _LENGTH + int(body[:_LENGTH], 16)
        return body[_LENGTH:end], body[end:]

    def keep(self, answer: bytes, compiled: bytes) -> None:
        """Keeps what the reader gave, where it is not too large."""
        body = f"{len(answer):0{_LENGTH}x}".encode() + answer + compiled
        if len(body) <= LARGEST:
            replace_file(self._path, _MAGIC + self._key.encode() + sha256_hex(body).encode() + body)


def _front_end() -> object:
    """What the front end is: the bundle's identity, or the time stamps of its files in a checkout."""
    code = code_identity()
    if code:
        return code
    directory = os.path.dirname(launcher.language.__file__)
    with os.scandir(directory) as entries:
        stamps = [[entry.name, entry.stat().st_mtime_ns, entry.stat().st_size] for entry in entries]
    return sorted(stamp for stamp in stamps if str(stamp[0]).endswith(".py"))
