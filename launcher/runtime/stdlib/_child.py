"""A child process with bounded output and time."""

from __future__ import annotations

import os
import time

from launcher.runtime.stdlib._sigpipe import Ignored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from selectors import SelectorKey
    from subprocess import Popen
    from typing import Any

# Of each stream; what comes after it is read and thrown away, so that the child does not block.
MAX_OUTPUT = 10 * 1024 * 1024
DEFAULT_TIMEOUT = 300.0
CHUNK = 65536


def run(file: str, words: list[str], cwd: str, env: dict[str, str], given: Any, timeout: Any) -> dict[str, Any]:
    """Starts `file` with `words` and waits. The child and what it started are killed when the time is over.

    Gives `code` (128 + n for a signal), `signal` (its number or null), `ok`, `stdout`, `stderr`, `timedOut`,
    `truncated`. Raises OSError when it cannot be started.
    """
    from subprocess import DEVNULL, PIPE, Popen

    data = _bytes(given)
    limit = _seconds(timeout)
    # A group of its own: kill reaches the whole pipeline, and a terminal's signals do not.
    child = Popen(
        words, executable=file, cwd=cwd, env=env, stdin=DEVNULL if data is None else PIPE, stdout=PIPE, stderr=PIPE,
        process_group=0,
    )  # fmt: skip
    timed_out = True  # also when an error ends the wait
    try:
        with Ignored():
            streams, timed_out = _communicate(child, data, limit)
    finally:
        _end(child, group=timed_out)
    code = child.returncode
    return {
        "code": code if code >= 0 else 128 - code,
        "signal": -code if code < 0 else None,
        "ok": code == 0 and not timed_out,
        "stdout": bytes(streams[0][:MAX_OUTPUT]).decode("utf-8", "replace"),
        "stderr": bytes(streams[1][:MAX_OUTPUT]).decode("utf-8", "replace"),
        "timedOut": timed_out,
        "truncated": max(len(stream) for stream in streams) > MAX_OUTPUT,
    }


def _communicate(child: Popen[bytes], data: bytes | None, limit: float) -> tuple[list[bytearray], bool]:
    """Feeds and drains the child until its pipes are closed and it ended. Whether the time was over before."""
    from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
    from subprocess import TimeoutExpired

    deadline = time.monotonic() + limit
    streams = [bytearray(), bytearray()]
    with DefaultSelector() as selector:
        for stream, place in ((child.stdout, streams[0]), (child.stderr, streams[1])):
            selector.register(stream, EVENT_READ, place)  # type: ignore[arg-type]
        if child.stdin is not None:
            os.set_blocking(child.stdin.fileno(), False)
            selector.register(child.stdin, EVENT_WRITE, memoryview(data or b""))
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return streams, True
            for key, _ in selector.select(left):
                _step(selector, key)
    try:
        child.wait(max(deadline - time.monotonic(), 0))
    except TimeoutExpired:
        return streams, True
    return streams, False


def _step(selector: Any, key: SelectorKey) -> None:
    """One piece in or out; a stream that is done is closed."""
    if isinstance(key.data, bytearray):
        piece = os.read(key.fd, CHUNK)
        room = MAX_OUTPUT + 1 - len(key.data)
        key.data.extend(piece[: max(room, 0)])
        done = not piece
    else:
        rest, done = _feed(key)
        if not done:
            selector.modify(key.fileobj, key.events, rest)
    if done:
        selector.unregister(key.fileobj)
        key.fileobj.close()  # type: ignore[union-attr]


def _feed(key: SelectorKey) -> tuple[memoryview, bool]:
    rest: memoryview = key.data
    try:
        rest = rest[os.write(key.fd, rest[:CHUNK]) :]
    except BlockingIOError:
        return rest, False
    except BrokenPipeError:  # it does not want more
        return rest, True
    return rest, not rest


def _end(child: Popen[bytes], *, group: bool) -> None:
    """Kills what is left of the child's group, also when the child itself has ended before, and reaps the child.

    The group's number is not used again while it has members, so none but the child's own are hit.
    """
    from signal import SIGKILL

    if group:
        try:
            os.killpg(child.pid, SIGKILL)
        except ProcessLookupError:
            pass
    child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _bytes(given: Any) -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    if not isinstance(given, str):
        raise TypeError(f"input must be a string or bytes, not {type(given).__name__}")
    return given.encode()


def _seconds(timeout: Any) -> float:
    if timeout is None:
        return DEFAULT_TIMEOUT
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < 1e9:
        raise ValueError(f"Invalid timeout: {timeout}")
    return float(timeout)
