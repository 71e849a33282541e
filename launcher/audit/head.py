"""The head of the chain, kept apart from the log: sequence and digest of the last event.

Whoever cuts lines off the end of the log leaves a perfect shorter chain; only the head shows that there was more.
It is a file of two slots in the state directory. A slot is written in place and never longer than a sector, the slots
lie in different blocks and alternate, and each has a checksum: a write that a power cut tears leaves the older slot.
Not SQLite: importing it costs a third of a launch (docs/decisions/audit-head.md).
"""

from __future__ import annotations

import os

from launcher.canonical import sha256_hex

MAGIC = b"MLAHEAD1"
SLOT = 128
SLOT_OFFSETS = (0, 4096)
FILE_SIZE = SLOT_OFFSETS[1] + SLOT
_CHECKED = SLOT - 16


class Head:
    """Where the chain stands.

    `seq` and `digest` (`sha256:...`) are the last event's, `size` the log's bytes after it in the file with inode
    `inode`. `durable` is the last sequence known to be on disk, `boot` the kernel's boot id when it was written:
    together they tell what a power cut may have lost from what somebody removed. `generation` counts writes.
    """

    __slots__ = ("boot", "digest", "durable", "generation", "inode", "seq", "size")

    def __init__(
        self, seq: int, digest: str, size: int, inode: int, durable: int, boot: bytes, generation: int = 0
    ) -> None:
        self.seq = seq
        self.digest = digest
        self.size = size
        self.inode = inode
        self.durable = durable
        self.boot = boot
        self.generation = generation

    def __repr__(self) -> str:
        return f"Head(seq={self.seq}, digest={self.digest!r}, durable={self.durable})"


def boot_id() -> bytes:
    """The kernel's random id of this boot, 16 bytes."""
    fd = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return bytes.fromhex(os.read(fd, 64).decode("ascii").strip().replace("-", ""))
    finally:
        os.close(fd)


def encode(head: Head) -> bytes:
    """The slot of `head`: SLOT bytes."""
    numbers = (head.generation, head.seq, head.durable, head.size, head.inode)
    body = MAGIC + b"".join([number.to_bytes(8, "little") for number in numbers])
    body += bytes.fromhex(head.digest.removeprefix("sha256:")) + head.boot
    body = body.ljust(_CHECKED, b"\0")
    return body + _checksum(body)


def decode(slot: bytes) -> Head | None:
    """The head in a slot; None where it was never written or is torn."""
    body = slot[:_CHECKED]
    if len(slot) != SLOT or not slot.startswith(MAGIC) or slot[_CHECKED:] != _checksum(body):
        return None
    generation, seq, durable, size, inode = [int.from_bytes(body[at : at + 8], "little") for at in range(8, 48, 8)]
    return Head(seq, "sha256:" + body[48:80].hex(), size, inode, durable, body[80:96], generation)


def read(fd: int) -> Head | None:
    """The newest whole head of an open head file; None where there is none."""
    heads = [decode(os.pread(fd, SLOT, offset)) for offset in SLOT_OFFSETS]
    whole = [head for head in heads if head is not None]
    return max(whole, key=lambda head: head.generation, default=None)


def reserve(fd: int) -> None:
    """Take the blocks of a new head file, so that writing a head needs no space later. Raises OSError."""
    if os.fstat(fd).st_size < FILE_SIZE and os.pwrite(fd, bytes(FILE_SIZE), 0) != FILE_SIZE:
        raise OSError(28, os.strerror(28))


def write(fd: int, head: Head) -> None:
    """Write `head` over the older slot. The caller holds the lock and has called `reserve`. Raises OSError."""
    if os.pwrite(fd, encode(head), SLOT_OFFSETS[head.generation % 2]) != SLOT:
        raise OSError(5, "short write of the audit head")


def _checksum(body: bytes) -> bytes:
    return bytes.fromhex(sha256_hex(body))[:16]
