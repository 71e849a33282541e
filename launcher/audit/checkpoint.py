"""Signed checkpoints: the head of the chain, signed with Ed25519, so that not even root can rewrite what is before it.

That holds as far as the private key, or a copy of the checkpoints, is kept where the log's owner cannot reach it.
A checkpoint is one canonical JSON line in `audit.checkpoints` beside the log.
"""

from __future__ import annotations

import json
import os
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.audit.durable import durable_head
from launcher.audit.event import timestamp
from launcher.audit.files import LOG_MODE, AuditFiles, failed, sync_directory
from launcher.canonical import canonical_json, sha256_hex
from launcher.errors import AuditError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

# What is signed begins with this, so that a signature made for anything else never passes for a checkpoint.
CONTEXT = b"mlsandbox.audit.checkpoint/1\n"
MAX_KEY = 16384


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`seq` and `digest` of the head at `time`; `key` the SHA-256 of the public key; `signature` in hexadecimal."""

    seq: int
    digest: str
    time: str
    key: str
    signature: str

    def body(self) -> bytes:
        """What is signed."""
        return CONTEXT + canonical_json({"digest": self.digest, "key": self.key, "seq": self.seq, "time": self.time})

    def line(self) -> bytes:
        """The checkpoint as one canonical JSON line without its line feed."""
        return canonical_json({name: getattr(self, name) for name in self.__slots__})


def checkpoint(files: AuditFiles, private_key: bytes) -> Checkpoint:
    """Sign the head and append it, durable, to the checkpoints. `private_key` is PEM. Raises AuditError."""
    head = durable_head(files)
    if head is None:
        raise AuditError("there is no audit head to sign", hint="the first event makes it: mlsandbox audit verify")
    key = _private(private_key)
    unsigned = Checkpoint(head.seq, head.digest, timestamp(time.time_ns()), key_id(key.public_key()), "")
    signed = Checkpoint(unsigned.seq, unsigned.digest, unsigned.time, unsigned.key, key.sign(unsigned.body()).hex())
    _store(files.checkpoints, signed.line() + b"\n")
    return signed


def read_checkpoints(path: str) -> tuple[list[Checkpoint], list[str]]:
    """The checkpoints of a file, and a complaint `file:line: ...` for each line that is none. Raises AuditError."""
    found: list[Checkpoint] = []
    problems: list[str] = []
    try:
        with open(path, "rb") as stream:
            for number, line in enumerate(stream, 1):
                item = _parsed(line)
                if item is None:
                    problems.append(f"{path}:{number}: not a checkpoint")
                else:
                    found.append(item)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise failed("read the checkpoints", path, error) from error
    return found, problems


def is_signed(item: Checkpoint, public_key: Ed25519PublicKey) -> bool:
    """Whether `item` was signed with the private half of `public_key`."""
    from cryptography.exceptions import InvalidSignature

    try:
        public_key.verify(bytes.fromhex(item.signature), item.body())
    except (InvalidSignature, ValueError):
        return False
    return True


def public_key_of(pem: bytes) -> Ed25519PublicKey:
    """The public key of a PEM of either half. Raises AuditError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if b"PRIVATE KEY" in pem:
        return _private(pem).public_key()
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise AuditError(f"the audit public key cannot be read: {error}", hint="it is a PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise AuditError("the audit public key is not an Ed25519 key", hint="openssl pkey -in KEY -pubout")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """`sha256:` and the SHA-256 of the raw public key."""
    return "sha256:" + sha256_hex(key.public_bytes_raw())


def read_key(path: str, *, private: bool = True) -> bytes:
    """The PEM in `path`. A private key must be ours and closed to group and others. Raises AuditError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.fstat(fd)
            data = os.read(fd, MAX_KEY)
        finally:
            os.close(fd)
    except OSError as error:
        raise failed("read the audit key", path, error, hint="openssl genpkey -algorithm ed25519 -out KEY") from error
    if private and (found.st_mode & 0o077 or found.st_uid not in (0, os.geteuid()) or not stat.S_ISREG(found.st_mode)):
        raise AuditError(f"the audit key {path} can be read by others (mode {found.st_mode & 0o7777:04o})",
                         hint=f"chmod 0600 {path}, and make a new key")  # fmt: skip
    return data


def _private(pem: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise AuditError(f"the audit key cannot be read: {error}", hint="it is a PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditError("the audit key is not an Ed25519 key", hint="openssl genpkey -algorithm ed25519 -out KEY")
    return key


def _store(path: str, line: bytes) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, LOG_MODE)
        try:
            if os.write(fd, line) != len(line):
                raise OSError(28, os.strerror(28))
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_directory(os.path.dirname(path))
    except OSError as error:
        raise failed("write the checkpoint", path, error) from error


def _parsed(line: bytes) -> Checkpoint | None:
    try:
        data = json.loads(line)
        item = Checkpoint(**data)
    except (ValueError, TypeError):
        return None
    texts = (item.digest, item.time, item.key, item.signature)
    whole = type(item.seq) is int and all(isinstance(text, str) for text in texts)
    return item if whole else None
