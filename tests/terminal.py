"""A caller's terminal for tests: mlsandbox runs on one side of a pty, the test types and reads on the other."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sandboxed import Host


class Terminal:
    """A caller's terminal with mlsandbox running on it."""

    def __init__(self, host: Host, *words: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave

        def take() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        options = host.drop()
        if os.geteuid() == 0:
            os.fchown(slave, host.uid, host.gid)
        self.process = subprocess.Popen(
            host.command(*words),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=host.workspace,
            preexec_fn=take,
            **options,
        )
        self.seen = b""

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def until(self, text: bytes, seconds: float = 20) -> bytes:
        end = time.monotonic() + seconds
        while text not in self.seen and time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:
                    break
        assert text in self.seen, self.seen
        return self.seen

    def close(self) -> int:
        status = self.process.wait(timeout=20)
        os.close(self.master)
        os.close(self.slave)
        return status
