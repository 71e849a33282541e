"""A launch that the service makes, as its client sees it. On the path of every warm launch: few imports."""

from __future__ import annotations

import _socket
import os

from launcher.errors import SandboxError
from launcher.policy.paths import Locations
from launcher.service.request import open_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.service.client import Client
    from launcher.service.request import Request

_TRAVELS = (
    "allow_degraded", "arguments", "command", "cwd", "limits", "program", "terminal", "trace_denials", "user",
    "workspace",
)  # fmt: skip


def message_of(request: Request) -> dict[str, Any]:
    """A request as the service's verbs `launch`, `check`, `explain` and `plan` want it."""
    message = {name: getattr(request, name) for name in _TRAVELS}
    message |= {"environment": dict(request.environment), "inherited": dict(request.inherited)}
    return {**message, **credentials(request.token, request.root)}


def credentials(token: str | None, root: str | None) -> dict[str, str]:
    """What says to the service who asks, beside what the kernel says: the token that was given, else the one that
    `login` stored, which counts where tokens are verified. Raises IdentityError for a file that others could have read.
    """
    if token:
        return {"token": token}
    path = Locations.find(root).token
    if not os.path.lexists(path):
        return {}
    from launcher.identity import token_file

    return {"stored_token": token_file.load(path)}


class Remote:
    """One launch. `step` until `result` is there. Raises SandboxError as a launch in this process would."""

    __slots__ = ("_fds", "_number", "client", "job", "result")

    def __init__(self, client: Client, request: Request) -> None:
        """The program is opened here, with the caller's own rights. Its descriptor and the streams of the request go to
        the tenant's process when that asks for them.
        """
        self.client = client
        self.job = ""
        self.result: dict[str, Any] | None = None
        self._fds = list(request.stdio)
        program = open_program(request) if request.program else -1
        if program >= 0:
            self._fds.append(program)
        try:
            self._number = client.begin("launch", message_of(request))
            while not self.job and self.result is None:
                self.step()
        finally:
            if program >= 0:
                os.close(program)

    def fileno(self) -> int:
        """Readable when `step` will not wait."""
        return self.client.connection.fileno()

    def step(self) -> None:
        """Takes the next answer."""
        done, answer, fds = self.client.next(self._number)
        if done:
            self.result = answer["result"]
        elif "job" in answer:
            self.job = answer["job"]
        elif "descriptors" in answer and fds:
            self._pass(fds[0])

    def _pass(self, end: int) -> None:
        packed = b"".join([fd.to_bytes(4, "little") for fd in self._fds])
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)]
        socket = _socket.socket(fileno=end)
        try:
            socket.sendmsg([b"d"], rights, _socket.MSG_NOSIGNAL)
        except OSError as error:
            raise SandboxError(f"cannot pass descriptors to the service: {error.strerror}") from error
        finally:
            socket.close()

    def signal(self, number: int) -> None:
        """Passes a signal on to the job: SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGSTOP, SIGCONT, or
        SIGWINCH where the size of the terminal that was passed has changed.
        """
        self.client.more(self._number, {"signal": number})

    def wait(self) -> dict[str, Any]:
        """Waits for the end; the result (`Result.to_data()`)."""
        while self.result is None:
            self.step()
        return self.result
