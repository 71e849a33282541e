"""The supervisor's line to the proxy: reload, totals, stop. When it closes, the proxy ends, and with it the network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from launcher.capability.grant import Grant
from launcher.egress.policy import Rules
from launcher.errors import SandboxError

if TYPE_CHECKING:
    import socket

    from launcher.egress.server.job import Job

MAX_LINE = 8 << 20  # bytes of one message; a policy document is at most 1 MiB


class Control:
    """Reads JSON lines `{"op": ...}` and answers each with one line."""

    def __init__(self, job: Job, sock: socket.socket) -> None:
        self._job = job
        self._sock = sock
        self._buffer = b""

    def run(self) -> None:
        while True:
            try:
                data = self._sock.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self._buffer += data
            if not data or len(self._buffer) > MAX_LINE:
                self._job.loop.stop()
                return
            *lines, self._buffer = self._buffer.split(b"\n")
            for line in lines:
                self._answer(line)

    def _answer(self, line: bytes) -> None:
        try:
            answer = self._act(json.loads(line))
        except (ValueError, KeyError, TypeError, SandboxError) as error:
            # A policy that cannot be read is not a policy: the old one stays in force, the supervisor decides.
            answer = {"ok": False, "error": str(error)}
        self._sock.setblocking(True)
        try:
            self._sock.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:
            self._job.loop.stop()
        finally:
            self._sock.setblocking(False)

    def _act(self, message: dict[str, Any]) -> dict[str, Any]:
        operation = message["op"]
        if operation == "reload":
            self._job.reload(rules_from_data(message))
            return {"ok": True, "generation": self._job.rules.generation}
        if operation == "totals":
            return {"ok": True, **self._job.trail.totals()}
        if operation == "stop":
            self._job.loop.stop()
            return {"ok": True, **self._job.trail.totals()}
        raise ValueError(f"unknown operation {operation!r}")


def rules_from_data(data: dict[str, Any]) -> Rules:
    """Rules from `{"grants": [...], "denies": [...], "generation": n}`, grants as `Grant.to_data` gives them.

    Raises DocumentError for what cannot be enforced.
    """
    grants = [Grant.from_data(entry) for entry in data["grants"]]
    denies = [Grant.from_data(entry) for entry in data.get("denies", ())]
    return Rules(grants, denies, int(data.get("generation", 0)))
