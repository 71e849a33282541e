"""The listening side: who connects, which verb is meant, and that no client costs the others anything.

The kernel says who is calling (SO_PEERCRED: the ids at connect(2), which nobody can forge); a token in the message may
say who is meant instead, and `user` whom an operator acts for. A client that breaks the protocol loses its connection
and nothing else. What one user may hold is bounded: connections, calls, bytes.
"""

from __future__ import annotations

import _socket
import errno
import os
import stat
from time import monotonic

from launcher.errors import ConfigurationError, IdentityError, SandboxError, UsageError
from launcher.service.calls import Call
from launcher.service.loop import GONE, READ, WRITE
from launcher.service.turns import Turns
from launcher.service.wire import LONGEST, ClosedError, Connection, WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.identity.acting import Acting
    from launcher.identity.user import User
    from launcher.policy.paths import Locations
    from launcher.service.loop import Loop
    from launcher.service.wire import Message

    Handler = Callable[[Call], None]
    Resolve = Callable[[User, str | None, str | None, str | None], Acting]

_LISTEN_FIRST = 3  # sd_listen_fds(3): the first descriptor that systemd passes
_BACKLOG = 4096
_ACCEPTED = 32  # connections taken in one turn
_UCRED = 12  # bytes of struct ucred
_KNOWN = 1.0  # seconds that what the account database said of a caller is good for
_MOST_UNREAD = 1 << 18  # bytes of answers that a client has not read; then nothing more is asked of us
_MOST_HELD = 16  # the same for descriptors (`logs`): the service has 1024 for everybody
MOST_CONNECTIONS = 1024  # of one user
MOST_CALLS = 64  # of one connection at a time
MOST_BUFFERED = 32 << 20  # bytes of unfinished messages of one user, over all its connections


def passed_socket() -> int | None:
    """The listening socket that systemd passes (LISTEN_FDS), or None. Raises ConfigurationError for two."""
    count, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not count.isdigit() or pid != str(os.getpid()):
        return None
    if count != "1":
        raise ConfigurationError(f"{count} sockets were passed to the service", hint="the unit has one ListenStream=")
    os.set_inheritable(_LISTEN_FIRST, False)
    return _LISTEN_FIRST


def listen(locations: Locations) -> _socket.socket:
    """The listening socket: the passed one, or a new one at its path. Raises ConfigurationError.

    Everybody may connect (mode 0666): who connects is asked of the kernel, and what he may do of the policies.
    """
    passed = passed_socket()
    if passed is not None:
        return _socket.socket(fileno=passed)
    path = locations.socket
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        os.makedirs(locations.runtime, 0o755, exist_ok=True)
        _remove_dead(path)
        before = os.umask(0o111)
        try:
            made.bind(path)
        finally:
            os.umask(before)
        made.listen(_BACKLOG)
    except BaseException as error:
        made.close()
        if not isinstance(error, OSError):
            raise
        raise ConfigurationError(f"cannot listen at {path}: {error.strerror}") from error
    return made


def _remove_dead(path: str) -> None:
    """Removes a socket that nobody listens at. Raises ConfigurationError where somebody does."""
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ConfigurationError(f"{path} is in the way", hint="it is not a socket; remove it")
        probe.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        os.unlink(path)
    else:
        raise ConfigurationError(f"a service is already running at {path}", hint="stop it first")
    finally:
        probe.close()


class Client:
    """One connection, and the calls on it that are not answered yet."""

    __slots__ = (
        "_calls",
        "_choked",
        "_drained",
        "_known",
        "_reading",
        "_server",
        "_user",
        "closed",
        "connection",
        "peer",
    )

    def __init__(self, server: Server, connection: Connection, peer: tuple[int, int, int], user: User) -> None:
        self._server = server
        self.connection = connection
        self.peer = peer
        self._user, self._known = user, monotonic()
        self.closed = False
        self._calls: dict[int, Call] = {}
        self._drained: list[Callable[[], None]] = []
        self._reading = True
        self._choked = False  # it asks, and does not read the answers

    @property
    def user(self) -> User:
        """Who is connected, with the groups that he is in now: a connection may be kept for days. Raises IdentityError
        where the account has expired meanwhile.
        """
        if monotonic() - self._known > _KNOWN:
            self._user, self._known = _user_of(self.peer), monotonic()
        return self._user

    def ready(self, events: int) -> None:
        """What epoll says about the socket."""
        try:
            if events & WRITE:
                self._flush()
            if self._reading and not self._choked and not self.closed and events & ~WRITE:
                self._server.turns.ready(self.peer[1], self)
            elif events & GONE:  # while it waits for its turn
                self.close()
        except ClosedError:
            self.close()

    def serve(self) -> bool:
        """Handles the next message; whether there may be another (`turns`)."""
        if self.connection.backlog > _MOST_UNREAD or self.connection.held > _MOST_HELD:
            self._choked = True
            return False
        try:
            received = self.connection.receive()
            if received is None:
                self._server.check_buffered(self)
                return False
            self._told(received[0])
        except ClosedError:
            self.close()
        except WireError as error:
            self._refuse(error)
        except Exception as error:  # noqa: BLE001  ours; raised further it would cost those their turn who wait for one
            self._server.loop.failed(error)
        return not self.closed and self.connection.buffered > 0

    def pause(self) -> None:
        self._watch(reading=False)

    def resume(self) -> None:
        self._watch(reading=True)

    def _watch(self, *, reading: bool) -> None:
        self._reading = reading
        events = (READ if reading and not self._choked else 0) | (WRITE if self.connection.backlog else 0)
        self._server.loop.change(self.connection.fileno(), events)

    def _told(self, message: Message) -> None:
        number = message.get("to")
        if number is not None:
            call = self._calls.get(number) if type(number) is int else None
            if call and call.on_message:  # else the answer and this message have crossed
                call.on_message(message)
            return
        call = Call(self, message)
        if type(call.number) is not int or call.number in self._calls:
            raise WireError("`call` must be a number that no other open call of this connection has")
        if len(self._calls) >= MOST_CALLS:
            raise WireError(f"more than {MOST_CALLS} calls at a time on one connection")
        self._calls[call.number] = call
        self._server.dispatch(call)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Raises ClosedError."""
        if self.closed:
            return
        self.connection.send(message, fds)
        if self.connection.backlog:
            self._watch(reading=self._reading)

    def _flush(self) -> None:
        if self.connection.flush():
            choked, self._choked = self._choked, False
            self._watch(reading=self._reading)
            if choked and self._reading:  # what it said meanwhile may be here already
                self._server.turns.ready(self.peer[1], self)
            drained, self._drained = self._drained, []
            for callback in drained:
                callback()

    def when_drained(self, callback: Callable[[], None]) -> None:
        if self.connection.backlog and not self.closed:
            self._drained.append(callback)
        else:
            self._server.loop.soon(callback)

    def answered(self, call: Call) -> None:
        self._calls.pop(call.number, None)

    def _refuse(self, error: WireError) -> None:
        """Says why, as far as the socket takes it at once, and closes."""
        from launcher.service.calls import error_data

        try:
            self.connection.send({"error": error_data(error), "call": 0})
        except ClosedError:
            pass
        self.close()

    def close(self) -> None:
        """Ends the connection: calls without an answer are told that nobody waits for it."""
        if self.closed:
            return
        self.closed = True
        self._server.left(self)
        self.connection.close()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.answered = True
            if call.on_gone:
                call.on_gone()


class Server:
    """Accepts, identifies, and hands each message to the handler of its verb.

    `verbs` maps a name to a handler; `resolve(caller, user, token, stored_token)` says who a call is for.
    A SandboxError of a handler becomes the answer.
    """

    def __init__(self, loop: Loop, listener: _socket.socket, verbs: Mapping[str, Handler], resolve: Resolve) -> None:
        self.loop = loop
        self.turns = Turns(loop)
        self.verbs = dict(verbs)
        self._listener = listener
        self._resolve = resolve
        self.clients: dict[int, set[Client]] = {}  # by uid
        self._held = False
        listener.setblocking(False)
        loop.watch(listener.fileno(), self._accept)

    def _accept(self, _events: int) -> None:
        for _ in range(_ACCEPTED):
            try:
                fd, _address = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001  what socket.accept wraps
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE}:  # it stays in the backlog until descriptors are free
                    self.loop.change(self._listener.fileno(), 0)
                    self.loop.at(0.1, self._try_again)
                    return
                continue
            self._welcome(_socket.socket(fileno=fd))

    def _try_again(self) -> None:
        if not self._held:
            self.go_on()

    def _welcome(self, socket: _socket.socket) -> None:
        socket.setblocking(False)
        peer = peer_of(socket)
        connection = Connection(socket, most=0, longest=LONGEST)
        others = self.clients.setdefault(peer[1], set())
        try:
            if len(others) >= MOST_CONNECTIONS:
                raise SandboxError(f"user {peer[1]} has {len(others)} connections to the service", hint="close some")
            client = Client(self, connection, peer, _user_of(peer))
        except SandboxError as error:
            self._turn_away(connection, error)
            return
        others.add(client)
        self.loop.watch(socket.fileno(), client.ready)

    def _turn_away(self, connection: Connection, error: SandboxError) -> None:
        from launcher.service.calls import error_data

        try:
            connection.send({"error": error_data(error), "call": 0})
        except WireError:
            pass
        connection.close()

    def dispatch(self, call: Call) -> None:
        """Calls the handler of the message's verb."""
        try:
            verb, *who = (_text(call.message, name) for name in ("verb", "user", "token", "stored_token"))
            handler = self.verbs.get(verb or "")
            if handler is None:
                raise UsageError(f"the service has no verb {(verb or '')[:40]!r}")
            call.acting = self._resolve(call.caller, *who)
            handler(call)
        except SandboxError as error:
            call.fail(error)
        except Exception as error:
            call.fail(SandboxError(f"internal error of the service: {type(error).__name__}: {str(error)[:400]}"))
            raise

    def check_buffered(self, client: Client) -> None:
        """Raises WireError where the unfinished messages of one user are too many bytes."""
        if client.closed or not client.connection.buffered:
            return
        if sum(other.connection.buffered for other in self.clients.get(client.peer[1], ())) > MOST_BUFFERED:
            raise WireError("too many unfinished messages of this user")

    def left(self, client: Client) -> None:
        """The connection of `client` is about to be closed."""
        self.loop.forget(client.connection.fileno())
        others = self.clients.get(client.peer[1])
        if others is not None:
            others.discard(client)
            if not others:
                del self.clients[client.peer[1]]

    def hold(self) -> None:
        """Takes no new connection: who connects waits. Those that are there go on."""
        self._held = True
        self.loop.change(self._listener.fileno(), 0)

    def go_on(self) -> None:
        """Takes new connections, those first that have waited."""
        self._held = False
        self.loop.change(self._listener.fileno(), READ)

    def close(self) -> None:
        """Stops listening, and ends every connection."""
        self.loop.forget(self._listener.fileno())
        self._listener.close()
        for client in [client for clients in self.clients.values() for client in clients]:
            client.close()


def peer_of(socket: _socket.socket) -> tuple[int, int, int]:
    """(pid, uid, gid) of the process that connected."""
    packed = socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _UCRED)
    pid, uid, gid = (int.from_bytes(packed[at : at + 4], "little") for at in (0, 4, 8))
    return pid, uid, gid


def _user_of(peer: tuple[int, int, int]) -> User:
    from launcher.identity import os_user

    if peer[1] == (1 << 32) - 1:
        raise IdentityError("the kernel does not say who is calling", hint="the caller is of another user namespace")
    return os_user.by_uid(peer[1])


def _text(message: Message, name: str) -> str | None:
    value = message.get(name)
    if value is not None and type(value) is not str:
        raise UsageError(f"`{name}` of a message must be text")
    return value
