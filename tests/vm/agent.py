#!/usr/bin/python3
"""Inside the test machine: runs what the host asks for, line by line over a virtio-serial port.

A request is one line of JSON: `argv`, and optionally `user`, `timeout` in seconds, `cwd`, `env`. The answer is one line
with `status`, `out`, `err`, `seconds`. `session: true` goes through su, so through PAM and logind: a login session.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import subprocess
import sys
import time
from typing import Any, BinaryIO

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(name: str) -> None:
    with open(name, "r+b", buffering=0) as port:
        send(port, {"kernel": os.uname().release, "boot_seconds": time.clock_gettime(time.CLOCK_BOOTTIME)})
        buffered = b""
        while True:
            line, found, rest = buffered.partition(b"\n")
            if found:
                buffered = rest
                send(port, answer(json.loads(line)))
                continue
            more = port.read(65536)
            if not more:  # nobody at the other end
                time.sleep(0.05)
            buffered += more


def send(port: BinaryIO, value: dict[str, Any]) -> None:
    data = json.dumps(value).encode() + b"\n"
    while data:
        data = data[port.write(data) :]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    try:
        status, out, err = run(request)
    except subprocess.TimeoutExpired as error:
        status, out, err = 124, error.stdout or b"", (error.stderr or b"") + b"\nagent: timeout"
    except (OSError, KeyError) as error:
        status, out, err = 126, b"", f"agent: {error!r}".encode()
    return {
        "status": status,
        "out": out.decode("utf-8", "replace"),
        "err": err.decode("utf-8", "replace"),
        "seconds": round(time.monotonic() - began, 3),
    }


def run(request: dict[str, Any]) -> tuple[int, bytes, bytes]:
    account = pwd.getpwnam(request.get("user", "root"))
    command: list[str] = request["argv"]
    options: dict[str, Any] = {}
    if request.get("session"):
        command = ["su", "-l", account.pw_name, "-c", shlex.join(command)]
    elif account.pw_uid:
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        options = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
    done = subprocess.run(
        command,
        env={**environment(account), **request.get("env", {})},
        cwd=request.get("cwd", account.pw_dir),
        capture_output=True,
        timeout=request.get("timeout", 60),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
        **options,
    )
    return done.returncode, done.stdout, done.stderr


def environment(account: pwd.struct_passwd) -> dict[str, str]:
    made = {"PATH": PATH, "HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}
    runtime = f"/run/user/{account.pw_uid}"
    if os.path.isdir(runtime):
        made |= {"XDG_RUNTIME_DIR": runtime, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus"}
    return {**made, "LANG": "C.UTF-8"}


if __name__ == "__main__":
    main(sys.argv[1])
