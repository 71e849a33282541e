"""Launching from Python: `from launcher import Service, launch`.

    result = launch(["pytest", "-q"], limits={"max_wall_time": "5m"})           # the service, or this process
    with Service().start("job.ml", ["--fast"]) as job:                          # the service; output as it comes
        for line in job.stdout: ...
    done = await Service().launch_async(["make", "test"])                       # the same for asyncio

What may be done is what is granted to who calls, as on the command line; options only lower it. Errors are
`launcher.errors.SandboxError` and its classes' words and exit status. A job whose handle is closed is ended.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Self

from launcher.enforce.result import Result
from launcher.errors import SandboxError, UsageError
from launcher.policy.paths import service_socket
from launcher.service.client import connect
from launcher.service.remote import Remote
from launcher.service.request import ML_SUFFIX, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from types import TracebackType

    from launcher.service.client import Client

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Options:
    """What a launch may be told beside what to run. `limits` are texts by limit name (`{"max_memory": "1GiB"}`);
    `env` are variables that are granted; `user` is for operators; `cwd` the directory to start from, the current one
    unless given.
    """

    user: str | None = None
    token: str | None = None
    workspace: str | None = None
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    allow_degraded: bool = False


@dataclass(frozen=True)
class Completed:
    """A job that has ended: its `result`, and what it wrote where nothing else was given to write to."""

    result: Result
    stdout: bytes
    stderr: bytes

    @property
    def exit_code(self) -> int:
        """The job's own, or one of design section 11: 124 wall limit, 137 memory limit, 128+n for a signal."""
        return self.result.exit_code


def launch(what: str | Sequence[str], arguments: Sequence[str] = (), *, stdin: bytes = b"", root: str | None = None,
           **options: Any) -> Completed:  # fmt: skip
    """Runs an ML program (`"job.ml"`, with `arguments`) or a command (a sequence of words) to its end.

    The service makes the launch where one answers for `root`; else this process does, as `mlsandbox launch` would, and
    then it must be called from the main thread. `options` are those of `Options`. Raises SandboxError where nothing
    was run.
    """
    if os.path.exists(service_socket(root)):
        return Service(root).launch(what, arguments, stdin=stdin, **options)
    from launcher.service.launching import Launch

    request = _request(what, arguments, Options(**options), root)
    streams = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("stdin", "stdout", "stderr")]
    try:
        os.write(streams[0], stdin)
        os.lseek(streams[0], 0, os.SEEK_SET)
        request.stdio = (streams[0], streams[1], streams[2])
        result = Launch(request).run()
        out, err = (os.pread(fd, os.fstat(fd).st_size, 0) for fd in streams[1:])
        return Completed(result, out, err)
    finally:
        for fd in streams:
            os.close(fd)


class Service:
    """The service that answers for `root`, or the host's. Each launch is a connection of its own, so one object may be
    used by many threads and tasks.
    """

    def __init__(self, root: str | None = None) -> None:
        self.root = root

    def _client(self) -> Client:
        path = service_socket(self.root)
        client = connect(path)
        if client is None:
            raise SandboxError(f"no service is running at {path}", hint="mlsandbox service run")
        return client

    def start(self, what: str | Sequence[str], arguments: Sequence[str] = (), **options: Any) -> Job:
        """Starts a job with pipes for its streams. Raises SandboxError where it is refused."""
        request = _request(what, arguments, Options(**options), self.root)
        return Job(self._client(), request)

    def launch(self, what: str | Sequence[str], arguments: Sequence[str] = (), *, stdin: bytes = b"",
               **options: Any) -> Completed:  # fmt: skip
        """Runs a job to its end. Raises SandboxError where nothing was run."""
        with self.start(what, arguments, **options) as job:
            return job.communicate(stdin)

    async def launch_async(self, what: str | Sequence[str], arguments: Sequence[str] = (), *, stdin: bytes = b"",
                           **options: Any) -> Completed:  # fmt: skip
        """As `launch`, for asyncio. A task that is cancelled ends its job."""
        job = await self.start_async(what, arguments, **options)
        try:
            return await job.communicate(stdin)
        finally:
            job.close()

    async def start_async(self, what: str | Sequence[str], arguments: Sequence[str] = (), **options: Any) -> AsyncJob:
        """As `start`, for asyncio."""
        return AsyncJob(await asyncio.to_thread(self.start, what, arguments, **options))

    def check(self, what: str | Sequence[str], arguments: Sequence[str] = (), **options: Any) -> dict[str, Any]:
        """What `mlsandbox check` says. Raises SandboxError where the job may not be launched."""
        from launcher.service.remote import message_of
        from launcher.service.request import read_program

        request = _request(what, arguments, Options(**options), self.root)
        source = read_program(request).decode("utf-8", "surrogateescape") if request.program else None
        client = self._client()
        try:
            return client.call("check", {**message_of(request), "source": source})
        finally:
            client.close()


class Job:
    """A job that runs. `stdin`, `stdout` and `stderr` are binary files, unbuffered but for reading lines."""

    def __init__(self, client: Client, request: Request) -> None:
        self._client = client
        ours, theirs = _pipes()
        self.stdin: IO[bytes] = os.fdopen(ours[0], "wb", buffering=0)
        self.stdout: IO[bytes] = os.fdopen(ours[1], "rb")
        self.stderr: IO[bytes] = os.fdopen(ours[2], "rb")
        request.stdio = theirs
        try:
            self._remote = Remote(client, request)
        except BaseException:
            self.close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)

    @property
    def id(self) -> str:
        return self._remote.job

    def fileno(self) -> int:
        """Readable when there is news of the job (`wait` will not wait long)."""
        return self._remote.fileno()

    def signal(self, number: int) -> None:
        """Sends the job's main process a signal; SIGKILL ends all of the job."""
        self._remote.signal(number)

    def kill(self) -> None:
        """Ends the job; `wait` then has its result."""
        self.signal(signal.SIGKILL)

    def wait(self) -> Result:
        """Waits for the end. What the job writes must be read meanwhile (`communicate` does both)."""
        return Result.from_data(self._remote.wait())

    def step(self) -> Result | None:
        """Takes one piece of news; the result where that was it. Raises SandboxError."""
        self._remote.step()
        return Result.from_data(self._remote.result) if self._remote.result is not None else None

    def communicate(self, stdin: bytes = b"") -> Completed:
        """Writes `stdin`, reads what the job writes, waits for its end."""
        os.set_blocking(self.stdin.fileno(), False)
        taken = {self.stdout.fileno(): bytearray(), self.stderr.fileno(): bytearray()}
        out, err = taken.values()
        poll = select.poll()
        for fd in taken:
            poll.register(fd, select.POLLIN)
        poll.register(self.stdin.fileno(), select.POLLOUT)
        left, open_ends = memoryview(stdin), len(taken)
        while open_ends:
            for fd, _events in poll.poll():
                if fd in taken:
                    data = os.read(fd, _CHUNK)
                    taken[fd] += data
                    if not data:
                        poll.unregister(fd)
                        open_ends -= 1
                elif not (left := self._give(left)):
                    poll.unregister(fd)
                    self.stdin.close()
        if not self.stdin.closed:
            self.stdin.close()
        return Completed(self.wait(), bytes(out), bytes(err))

    def _give(self, data: memoryview) -> memoryview:
        try:
            return data[os.write(self.stdin.fileno(), data[:_CHUNK]) :] if data else data
        except BlockingIOError:
            return data
        except OSError:  # the job does not read
            return data[:0]

    def close(self) -> None:
        """Ends the job where it runs, and closes its streams. Safe to call twice."""
        self._client.close()
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncJob:
    """A job for asyncio, with what it writes as async iterators of lines."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def id(self) -> str:
        return self.job.id

    def signal(self, number: int) -> None:
        self.job.signal(number)

    def kill(self) -> None:
        self.job.kill()

    async def lines(self, name: str = "stdout") -> AsyncIterator[bytes]:
        """The lines of "stdout" or "stderr" as they come."""
        reader = await self._reader(name)
        while line := await reader.readline():
            yield line

    async def _reader(self, name: str) -> asyncio.StreamReader:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1 << 20)
        stream: IO[bytes] = getattr(self.job, name)
        copy = os.fdopen(os.dup(stream.fileno()), "rb", buffering=0)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), copy)
        return reader

    async def wait(self) -> Result:
        """Waits for the end."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Result] = loop.create_future()

        def ready() -> None:
            try:
                result = self.job.step()
            except SandboxError as error:
                loop.remove_reader(self.job.fileno())
                ended.set_exception(error)
                return
            if result is not None:
                loop.remove_reader(self.job.fileno())
                ended.set_result(result)

        loop.add_reader(self.job.fileno(), ready)
        try:
            return await ended
        finally:
            if not ended.done() or ended.cancelled():
                loop.remove_reader(self.job.fileno())

    async def communicate(self, stdin: bytes = b"") -> Completed:
        """Writes `stdin`, reads what the job writes, waits for its end."""
        out, err, _, result = await asyncio.gather(
            self._all("stdout"), self._all("stderr"), asyncio.to_thread(self._feed, stdin), self.wait()
        )
        return Completed(result, out, err)

    async def _all(self, name: str) -> bytes:
        return await (await self._reader(name)).read()

    def _feed(self, data: bytes) -> None:
        try:
            self.job.stdin.write(data)
            self.job.stdin.close()
        except OSError:  # the job does not read
            return

    def close(self) -> None:
        """Ends the job where it runs."""
        self.job.close()


def _request(what: str | Sequence[str], arguments: Sequence[str], options: Options, root: str | None) -> Request:
    """Raises UsageError."""
    request = Request(root=root, user=options.user, token=options.token)
    request.workspace, request.allow_degraded = options.workspace, options.allow_degraded
    request.cwd = options.cwd or request.cwd
    request.environment, request.limits = dict(options.env), dict(options.limits)
    if isinstance(what, str):
        if not what.endswith(ML_SUFFIX):
            raise UsageError(f"{what!r} is no ML program", hint="a command is a sequence of words: ['make', 'test']")
        request.program, request.arguments = what, list(arguments)
    else:
        request.command = [*what, *arguments]
    return request


def _pipes() -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Our ends and the job's of standard input, output and error."""
    stdin_read, stdin_write = os.pipe2(os.O_CLOEXEC)
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    return (stdin_write, out_read, err_read), (stdin_read, out_write, err_write)
