"""A launcher with mechanisms taken out, so that the suite can show that its attacks then work. Tests start it, nobody else.

    MLSANDBOX_TEST_WITHOUT=seccomp,landlock python3 -I -S weakened.py LIBRARY ARGUMENTS...

The product knows neither this file nor the variable: functions of its modules are replaced in this process alone.
"""

from __future__ import annotations

import importlib
import os
import struct
import sys
from typing import Any

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_DUMPABLE = 4
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_CLONE_NEWPID, _CLONE_NEWNET, _CLONE_NEWIPC = 0x20000000, 0x40000000, 0x08000000
_NR_CAPSET, _NR_ADD_KEY, _NR_PROCESS_VM_WRITEV = 126, 248, 311
_CAPABILITIES = {"lock": 21, "capabilities": 18}  # CAP_SYS_ADMIN, CAP_SYS_CHROOT
KEY = b"mlsandbox-attack"


class _Module:
    """A module of which only what is there can be replaced: a mechanism that was renamed must not seem to be taken out."""

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "module", importlib.import_module(f"launcher.{name}"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def __setattr__(self, name: str, value: object) -> None:
        if not hasattr(self.module, name):
            raise AttributeError(f"{self.module.__name__} has no {name} to be taken out")
        setattr(self.module, name, value)


def _module(name: str) -> Any:
    return _Module(name)


def without_seccomp() -> None:
    _module("kernel.seccomp").filter_bytes = lambda *_, **__: b""


def without_landlock() -> None:
    _module("enforce.namespace.backend").landlock_abi = lambda _profile: 0


def without_lock() -> None:
    """No second user namespace: the mounts belong to the namespace that the job's capabilities are in."""
    _module("enforce.namespace.build")._lock = lambda _identity: None


def without_capabilities() -> None:
    """The drop is left out, and all capabilities survive the exec of the job's image."""
    from launcher.kernel import libc
    from launcher.kernel.abi import KEYCTL_JOIN_SESSION_KEYRING

    def keep() -> None:
        libc.keyctl(KEYCTL_JOIN_SESSION_KEYRING)
        words = [0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x1FF, 0x1FF, 0x1FF]
        header = (0x20080522).to_bytes(4, "little") + bytes(4)
        libc.syscall(_NR_CAPSET, header, b"".join(word.to_bytes(4, "little") for word in words))
        for capability in _CAPABILITIES.values():
            libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1)

    _module("enforce.namespace.init").drop_privileges = keep


def without_no_new_privs() -> None:
    libc = _module("kernel.libc")
    before = libc.prctl
    libc.prctl = lambda option, *words: 0 if option == _PR_SET_NO_NEW_PRIVS else before(option, *words)


def without_hidden_init() -> None:
    """pid 1 stays dumpable and keeps its command line."""
    from launcher.kernel import libc

    _module("enforce.namespace.init").forget_command_line = lambda: libc.prctl(_PR_SET_DUMPABLE, 1)


def without_noexec() -> None:
    from launcher.kernel import mount

    mount.ATTRIBUTES["noexec"] = 0


def without_read_only() -> None:
    from launcher.kernel import mount

    mount.ATTRIBUTES["ro"] = 0


def without_narrow_mounts() -> None:
    """A directory with a granted name in it is mounted whole."""
    from launcher.enforce.namespace.plan.files import Reader

    Reader._mount_names = Reader._mount_whole  # type: ignore[method-assign]


def without_judge() -> None:
    """Whatever the job wrote is committed."""
    from launcher.enforce.staging.judge import Judged, Verdict

    staged = _module("enforce.namespace.staged")
    staged.judge = lambda changes, *_, **__: Verdict(
        [Judged(change, "file.write", (), "not judged", accepted=True) for change in changes]
    )


def without_egress_judge() -> None:
    """Whatever was granted or denied, the proxy holds a grant of every name and port of the test's other host."""
    from launcher.capability.grant import Grant, Place

    ports = {"tcp": ["2000-4000"], "http": [80, 8080, 8081]}
    names = ("*.alpha.com", "*.alphb.com", "*.beta.com")
    wide = [Grant("network", (kind,), names, {"ports": ports[kind]}, "wide", Place("wide", 1, 1)) for kind in ports]
    rules = _module("egress.policy").Rules
    before = rules.__init__
    rules.__init__ = lambda self, _grants, _denies=(), generation=0: before(self, wide, (), generation)


def without_covers() -> None:
    """Every program of the host is in view, not only what `cmd` grants."""
    _module("enforce.namespace.plan.programs")._cover = lambda *_: None


def without_masks() -> None:
    _module("enforce.namespace.backend").mask_proc = lambda _plan, _proc: None


def without_network_namespace() -> None:
    _module("enforce.namespace.backend").NAMESPACES &= ~_CLONE_NEWNET


def without_pid_namespace() -> None:
    """With the host's own /proc, since only the owner of a pid namespace may mount one."""
    from launcher.enforce.namespace.binds import Bind

    view = _module("enforce.namespace.plan.view")
    before = view.Filesystem
    view.Filesystem = lambda fstype, target, settings, options: (
        Bind("/proc", "/proc", options) if fstype == "proc" else before(fstype, target, settings, options)
    )
    _module("enforce.namespace.backend").NAMESPACES &= ~_CLONE_NEWPID


def without_ipc_namespace() -> None:
    _module("enforce.namespace.backend").NAMESPACES &= ~_CLONE_NEWIPC


def without_keyring() -> None:
    _module("kernel.libc").keyctl = lambda *_: 0


def without_close_range() -> None:
    _module("kernel.libc").close_range = lambda *_: None


def without_clean_environment() -> None:
    _module("service.launching").job_environment = lambda *_: {**os.environ}


def without_limits() -> None:
    backend = _module("enforce.namespace.backend")
    backend.rlimits = lambda *_, **__: []
    backend._make_cgroup = lambda *_: None


def without_exec_check() -> None:
    _module("enforce.namespace.execcheck").ExecCheck.refusal = lambda *_: None


def without_memory_calls() -> None:
    """process_vm_writev is let through before the filter is asked: <linux/filter.h>, load, compare, return."""
    seccomp = _module("kernel.seccomp")
    before = seccomp.filter_bytes
    load, compare, allow = (0x20, 0, 0, 0), (0x15, 0, 1, _NR_PROCESS_VM_WRITEV), (0x06, 0, 0, 0x7FFF0000)
    head = b"".join(struct.pack("=HBBI", *row) for row in (load, compare, allow))
    seccomp.filter_bytes = lambda *words: head + before(*words)


def _add_key() -> None:
    """A secret in the session keyring of the launcher, in every run of this program."""
    from launcher.kernel import libc
    from launcher.kernel.abi import KEYCTL_JOIN_SESSION_KEYRING

    libc.keyctl(KEYCTL_JOIN_SESSION_KEYRING)
    libc.syscall(_NR_ADD_KEY, b"user\0", KEY + b"\0", b"secret", 6, -3)


def main() -> None:
    library, *words = sys.argv[1:]
    sys.path.insert(0, library)
    _add_key()
    for mechanism in filter(None, os.environ.get("MLSANDBOX_TEST_WITHOUT", "").split(",")):
        globals()[f"without_{mechanism}"]()
    from launcher.cli.main import main as launch

    sys.exit(launch(words))


if __name__ == "__main__":
    main()
