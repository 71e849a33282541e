"""A running service in tests: root's, with tenants who are ordinary users of the host and speak to it as themselves."""

from __future__ import annotations

import json
import os
import pickle
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any

from launcher.policy.paths import Locations
from launcher.service.client import Client, connect
from tests import sandboxed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SECOND = "mlsandbox-test2"


def account(name: str) -> pwd.struct_passwd:
    """The account of a tenant, made once."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=True, capture_output=True)
        return pwd.getpwnam(name)


class Bed:
    """A service below a directory of its own, and a workspace for each of two tenants."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.alice = sandboxed.ordinary_user()
        self.bob = account(SECOND)
        self.top = tempfile.mkdtemp(prefix="mlsandbox-service-", dir="/srv")
        os.chmod(self.top, 0o755)
        self.root = f"{self.top}/root"
        os.makedirs(f"{self.root}/policies")
        for user in (self.alice, self.bob):
            os.mkdir(self.workspace(user))
            os.chown(self.workspace(user), user.pw_uid, user.pw_gid)
        self.locations = Locations.below(self.root)
        self.process: subprocess.Popen[bytes] | None = None

    def workspace(self, user: pwd.struct_passwd) -> str:
        return f"{self.top}/{user.pw_name}"

    def policy(
        self, capabilities: Mapping[str, Any], *users: pwd.struct_passwd, name: str = "test", **rest: Any
    ) -> None:
        names = [user.pw_name for user in users or (self.alice, self.bob)]
        document = {"policy": {"applies_to": {"users": names}, "capabilities": capabilities, **rest}}
        with open(f"{self.root}/policies/{name}.json", "w", encoding="utf-8") as file:
            json.dump(document, file)

    def config(self, text: str) -> None:
        with open(f"{self.root}/config.yaml", "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, *before: str, pass_fds: Sequence[int] = ()) -> None:
        """Starts the service, by the command `before` where one is given, and waits until it answers."""
        with open(f"{self.top}/service.log", "ab") as log:
            words = [*before, *self.command("service", "run")]
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", pass_fds=pass_fds
            )
        deadline = time.monotonic() + 20
        while (client := connect(self.locations.socket)) is None:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        client.close()

    def log(self) -> str:
        with open(f"{self.top}/service.log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.top, ignore_errors=True)

    def client(self) -> Client:
        made = connect(self.locations.socket)
        assert made is not None, self.log()
        return made

    def run(self, user: pwd.struct_passwd, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Any mlsandbox command as `user`, in his workspace."""
        options.setdefault("timeout", 60)
        options.setdefault("input", b"")
        return subprocess.run(self.command(*words), capture_output=True, check=False, **self.drop(user), **options)

    def command(self, *words: str) -> list[str]:
        return [f"{self.prefix}/bin/mlsandbox", "--root", self.root, *words]

    def drop(self, user: pwd.struct_passwd) -> dict[str, Any]:
        """subprocess arguments that become `user`."""
        environment = {"PATH": os.environ["PATH"], "HOME": user.pw_dir, "LANG": "C.UTF-8", "USER": user.pw_name}
        return {
            "user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "env": environment,
            "cwd": self.workspace(user),
        }  # fmt: skip

    def audit(self) -> list[dict[str, Any]]:
        words = self.command("audit", "show", "--json")
        shown = subprocess.run(words, capture_output=True, check=True, cwd="/").stdout.decode()
        return [json.loads(line) for line in shown.splitlines() if line.startswith("{")]


def as_user(user: pwd.struct_passwd, action: Callable[[], Any]) -> Any:
    """What `action` returns in a process that is `user` for good. Its exception is raised here."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            os.setgroups([])
            os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
            os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
            try:
                answer = (True, action())
            except BaseException as error:
                answer = (False, error)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    worked, value = pickle.loads(data)
    if not worked:
        raise value
    return value
