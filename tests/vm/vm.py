"""One disposable machine: Debian 12 with systemd and cgroup v2 on one of Debian's cloud kernels, in software emulation.

Nothing that it writes outlives it, and it has no network. Commands go in and come back over a virtio-serial port, see
`agent.py`. `image.sh` builds the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = os.path.dirname(os.path.abspath(__file__))
IMAGES = os.environ.get("MLSANDBOX_VM_DIR", "/var/tmp/mlsandbox-vm")
_PORT = "mlsandbox.0"
# 21 s on a quiet machine; emulation shares the processors with whatever else runs
_BOOT_TIMEOUT = 300
# without lsm= Debian starts selinux first, which has no policy here and complains
_KERNEL_LINE = (
    "root=/dev/nvme0n1 rootfstype=ext4 rw console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off nokaslr "
    "systemd.show_status=0 systemd.log_level=warning lsm=landlock,lockdown,yama,bpf audit=0"
)


def build_image() -> str:
    """Makes the image where it is missing or older than its recipe; what that took, "" where nothing was done."""
    done = subprocess.run([f"{HERE}/image.sh", IMAGES], check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Answer:
    """What a command in the machine did."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.status: int = values["status"]
        self.out: str = values["out"]
        self.err: str = values["err"]
        self.seconds: float = values["seconds"]

    def __repr__(self) -> str:
        return f"status {self.status}, {self.seconds} s\n--- out\n{self.out}\n--- err\n{self.err}"


class Machine:
    """Boots kernel `version` ("6.1" or "6.12") with the host's directory `tree` at the same path, read-only.

    Raises RuntimeError with the console's last lines, TimeoutError.
    """

    def __init__(self, version: str, tree: str, memory_mib: int = 1536) -> None:
        self._directory = tempfile.mkdtemp(prefix="mlsandbox-vm-")
        self._buffer = b""
        self._qemu: subprocess.Popen[bytes] | None = None
        self._socket = socket.socket(socket.AF_UNIX)
        began = time.monotonic()
        try:
            self._qemu = self._start(version, tree, memory_mib)
            self._connect()
            self.kernel: str = self._receive(_BOOT_TIMEOUT)["kernel"]
            self.boot_seconds = time.monotonic() - began
            self.check("sh", "-c", f"mkdir -p {tree} && mount -t ext4 -o ro,noload,nosuid,nodev /dev/vda {tree}")
        except (RuntimeError, OSError) as error:
            console = self.console()
            self.close()
            raise RuntimeError(f"the machine did not come up: {error}\n{console[-3000:]}") from error

    def _start(self, version: str, tree: str, memory_mib: int) -> subprocess.Popen[bytes]:
        packed = f"{self._directory}/tree.ext4"
        _pack(tree, packed)
        agent, console = f"{self._directory}/agent", f"{self._directory}/console"
        command = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-M", "q35,usb=off,hpet=off", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "qemu64",
            "-smp", "2", "-m", str(memory_mib),
            "-kernel", f"{IMAGES}/vmlinuz-{version}", "-append", _KERNEL_LINE,
            "-drive", f"id=root,if=none,format=raw,snapshot=on,file={IMAGES}/root.ext4",
            "-device", "nvme,drive=root,serial=root",
            # not a second NVMe disk: a kernel without initrd numbers those in a random order
            "-drive", f"id=tree,if=none,format=raw,readonly=on,file={packed}", "-device", "virtio-blk-pci,drive=tree",
            "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,path={agent},server=on,wait=off",
            "-device", f"virtserialport,chardev=agent,name={_PORT}",
            "-chardev", f"file,id=console,path={console}", "-serial", "chardev:console",
            "-device", "virtio-rng-pci",
        ]  # fmt: skip
        with open(f"{self._directory}/qemu", "wb") as said:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def _connect(self) -> None:
        end = time.monotonic() + 10
        while True:
            try:
                self._socket.connect(f"{self._directory}/agent")
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def _receive(self, timeout: float) -> dict[str, Any]:
        end = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            if self._qemu and self._qemu.poll() is not None:
                raise RuntimeError(f"qemu ended with {self._qemu.returncode}")
            if time.monotonic() > end:
                raise TimeoutError(f"no answer from the machine within {timeout} s")
            self._socket.settimeout(1)
            try:
                self._buffer += self._socket.recv(65536)
            except TimeoutError:
                continue
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, *argv: str, user: str = "root", timeout: int = 180, **options: Any) -> Answer:
        """Runs a command in the machine. `session=True` is a login; `env` and `cwd` as for subprocess."""
        request = {"argv": argv, "user": user, "timeout": timeout, **options}
        self._socket.settimeout(10)
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        return Answer(self._receive(timeout + 20))

    def check(self, *argv: str, **options: Any) -> str:
        """What a command that must succeed printed. Raises RuntimeError."""
        answer = self.run(*argv, **options)
        if answer.status:
            raise RuntimeError(f"{argv}: {answer}")
        return answer.out

    def console(self) -> str:
        """What the kernel and qemu said."""
        text = ""
        for name in ("console", "qemu"):
            path = f"{self._directory}/{name}"
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    text += file.read()
        return text

    def close(self) -> None:
        self._socket.close()
        if self._qemu:
            self._qemu.kill()
            self._qemu.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pack(tree: str, image: str) -> None:
    """A file system of `tree`. ext4, which has id-mapped mounts on every kernel here; squashfs has not on 6.1."""
    used = int(subprocess.run(["du", "-sm", tree], check=True, capture_output=True, text=True).stdout.split()[0])
    with open(image, "wb") as file:
        file.truncate((used * 3 // 2 + 32) << 20)
    make = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", "-d", tree, image]
    subprocess.run(make, check=True, capture_output=True)


def delegated(words: Sequence[str]) -> list[str]:
    """The words of a command in a scope of their own that systemd delegates to the user."""
    return ["systemd-run", "--user", "--scope", "--quiet", "--property=Delegate=yes", "--", *words]
