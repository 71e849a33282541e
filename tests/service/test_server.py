"""The listening side in one process: verbs, errors, streams, clients that go away, clients that break the protocol."""

from __future__ import annotations

import _socket
import os
import threading
from typing import TYPE_CHECKING

import pytest

from launcher.errors import RefusedError, SandboxError
from launcher.identity.acting import Acting
from launcher.policy.paths import Locations
from launcher.service import server as serving
from launcher.service.client import Client, connect
from launcher.service.loop import Loop
from launcher.service.server import Server, listen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from launcher.identity.user import User
    from launcher.service.calls import Call


class Served:
    def __init__(self, top: Path) -> None:
        self.locations = Locations.below(str(top))
        self.loop = Loop()
        self.gone: list[int] = []
        self.clients: list[Client] = []
        self.failures: list[BaseException] = []
        self.loop.failed = self.failures.append
        verbs = {
            "echo": self._echo, "refuse": self._refuse, "count": self._count, "wait": self._wait, "bug": self._bug,
            "flood": self._flood, "pass": self._pass,
        }  # fmt: skip
        self.server = Server(self.loop, listen(self.locations), verbs, self._resolve)
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def _resolve(self, caller: User, wanted: str | None, _token: str | None, _stored: str | None) -> Acting:
        if wanted:
            raise RefusedError(f"not for {wanted}")
        return Acting(caller, caller, operator=False)

    def _echo(self, call: Call) -> None:
        call.reply({"said": call.message["text"], "uid": call.caller.uid})

    def _refuse(self, _call: Call) -> None:
        raise RefusedError("no", hint="ask", place="p.yaml:1:2")

    def _count(self, call: Call) -> None:
        for number in range(call.message["to_number"]):
            call.stream({"n": number})
        call.reply({"done": True})

    def _wait(self, call: Call) -> None:
        call.on_gone = lambda: self.gone.append(call.number)
        call.on_message = lambda message: call.reply({"woken": message["text"]})

    def _bug(self, _call: Call) -> None:
        raise KeyError("something")

    def _flood(self, call: Call) -> None:
        for _ in range(200):
            call.stream({"text": "x" * 65536})
        call.reply({})

    def _pass(self, call: Call) -> None:
        reading, writing = os.pipe()
        os.write(writing, b"hello")
        call.reply({}, [reading])
        os.close(reading)
        os.close(writing)

    def close(self) -> None:
        self.loop.stop()
        self.client()
        self.thread.join(10)
        for client in self.clients:
            client.close()
        self.server.close()

    def client(self) -> Client:
        made = connect(self.locations.socket)
        assert made
        self.clients.append(made)
        return made


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.close()


def test_a_call_is_answered_and_says_who_called(served: Served) -> None:
    client = served.client()
    assert client.call("echo", {"text": "ä\udc80"}) == {"said": "ä\udc80", "uid": os.getuid()}
    assert client.call("echo", {"text": "again"})["said"] == "again"


def test_an_error_keeps_its_words_and_its_status(served: Served) -> None:
    with pytest.raises(SandboxError) as caught:
        served.client().call("refuse", {})
    error = caught.value
    assert (error.message, error.hint, error.place, error.status, error.ended_by) == (
        "no", "ask", "p.yaml:1:2", 126, "policy",
    )  # fmt: skip


def test_a_stream_arrives_in_order_and_ends(served: Served) -> None:
    parts = list(served.client().stream("count", {"to_number": 5}))
    assert parts == [*({"n": number} for number in range(5)), {"done": True}]


def test_an_answer_may_pass_descriptors(served: Served) -> None:
    client = served.client()
    done, _answer, fds = client.next(client.begin("pass", {}))
    assert done
    assert os.read(fds[0], 10) == b"hello"
    os.close(fds[0])


def test_a_client_may_say_more_about_a_call(served: Served) -> None:
    client = served.client()
    number = client.begin("wait", {})
    client.more(number, {"text": "now"})
    assert client.next(number)[1] == {"woken": "now"}


def test_who_waits_for_a_client_that_went_away_is_told(served: Served) -> None:
    client = served.client()
    number = client.begin("wait", {})
    assert served.client().call("echo", {"text": ""})
    client.close()
    while not served.gone:
        served.client().call("echo", {"text": ""})
    assert served.gone == [number]


def test_a_bug_in_a_handler_is_an_answer_and_ends_nothing(served: Served) -> None:
    client = served.client()
    with pytest.raises(SandboxError, match="internal error"):
        client.call("bug", {})
    assert served.client().call("echo", {"text": "still there"})["said"] == "still there"
    assert [type(failure) for failure in served.failures] == [KeyError]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"verb": "nothing", "call": 1}, "no verb"),
        ({"call": 1}, "no verb"),
        ({"verb": 7, "call": 1}, "must be text"),
        ({"verb": "echo", "user": ["x"], "call": 1}, "must be text"),
        ({"verb": "echo", "call": "one"}, "must be a number"),
        ({"verb": "echo", "user": "root", "call": 1, "text": ""}, "not for root"),
    ],
)
def test_a_message_that_means_nothing_is_an_error(served: Served, message: dict[str, object], words: str) -> None:
    client = served.client()
    client.connection.send(message)
    with pytest.raises(SandboxError, match=words):
        client.next(1)


def test_breaking_the_protocol_ends_that_connection_alone(served: Served) -> None:
    bad, good = served.client(), served.client()
    bad.connection.socket.send(b"x" * 100)
    with pytest.raises(SandboxError, match="protocol"):
        bad.next(1)
    with pytest.raises(SandboxError, match="went away"):
        bad.next(1)
    assert good.call("echo", {"text": "ok"})["said"] == "ok"


def test_a_descriptor_that_is_sent_ends_the_connection_and_never_arrives(served: Served) -> None:
    reading, writing = os.pipe()
    client = served.client()
    client.connection.send({"verb": "echo", "text": "", "call": 1}, [writing])
    os.close(writing)
    with pytest.raises(SandboxError, match="descriptors"):
        client.next(1)
    assert os.read(reading, 1) == b""  # nobody holds the other end: the kernel dropped it
    os.close(reading)


def test_too_many_calls_on_one_connection_are_refused(served: Served) -> None:
    client = served.client()
    for _ in range(serving.MOST_CALLS + 1):
        client.begin("wait", {})
    with pytest.raises(SandboxError, match="calls at a time"):
        client.next(1)


def test_a_client_that_does_not_read_loses_its_connection(served: Served) -> None:
    client = served.client()
    client.begin("flood", {})
    assert served.client().call("echo", {"text": "ok"})["said"] == "ok"
    with pytest.raises(SandboxError, match="went away"):
        while True:
            client.next(1)


def test_too_many_connections_of_one_user_are_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 3)
    first = [served.client() for _ in range(3)]
    assert first[0].call("echo", {"text": "ok"})
    refused = served.client()
    with pytest.raises(SandboxError, match="connections"):
        refused.call("echo", {"text": ""})
    first[1].close()
    while True:
        try:
            assert served.client().call("echo", {"text": "ok"})
            break
        except SandboxError:
            continue


def test_there_is_no_client_without_a_service(tmp_path: Path) -> None:
    assert connect(Locations.below(str(tmp_path)).socket) is None
    path = Locations.below(str(tmp_path)).socket
    os.makedirs(os.path.dirname(path))
    dead = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    dead.bind(path)
    dead.close()
    assert connect(Locations.below(str(tmp_path)).socket) is None
    listen(Locations.below(str(tmp_path))).close()  # the dead socket is no obstacle


def test_a_second_service_is_refused(served: Served) -> None:
    with pytest.raises(SandboxError, match="already running"):
        listen(served.locations)
