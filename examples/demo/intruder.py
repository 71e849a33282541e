"""A program that tries what it was not granted. Run by the demo under `mlsandbox launch`; each attempt must fail.

It is an ordinary native process: Python's os module makes the system calls, and no library of ours is in its way.
Exit status 0 means that everything was stopped.
"""

import os
import socket
import sys

held = True


def attempt(what: str, action) -> None:
    """Prints how the kernel answered; an attempt that succeeds is a hole."""
    global held
    try:
        result = action()
    except OSError as error:
        print(f"  stopped  {what}: {error.strerror}")
    else:
        held = False
        print(f"  HOLE     {what}: {result!r}")


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(80)


def write(path: str) -> int:
    with open(path, "w") as file:
        return file.write("owned")


def connect(address: tuple[str, int]) -> str:
    with socket.create_connection(address, timeout=2):
        return "connected"


def run_shell() -> None:
    os.execv("/bin/sh", ["sh", "-c", "echo a shell ran"])


def fork_bomb() -> str:
    children = []
    try:
        for _ in range(10_000):
            pid = os.fork()
            if pid == 0:
                os.read(keep_open, 1)
                os._exit(0)
            children.append(pid)
    except OSError as error:
        print(f"  stopped  a fork bomb after {len(children)} processes: {error.strerror}")
        return "stopped"
    return f"{len(children)} processes"


print(f"running as uid {os.getuid()}, pid {os.getpid()}")
attempt("read secret/passwords.txt", lambda: read("secret/passwords.txt"))
attempt("read /etc/shadow", lambda: read("/etc/shadow"))
attempt("write outside the grant (/usr/evil)", lambda: write("/usr/evil"))
attempt("start a shell", run_shell)
attempt("connect to a host on the internet", lambda: connect(("192.0.2.1", 80)))
attempt("connect to the host's own ssh port", lambda: connect(("127.0.0.1", 22)))
attempt("reach the docker socket", lambda: os.stat("/run/docker.sock"))
keep_open, _writer = os.pipe()
if fork_bomb() != "stopped":
    held = False
sys.exit(0 if held else 1)
