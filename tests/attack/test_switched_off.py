"""Each mechanism taken out, with what backs it: then named attacks work. So the suite would see it if one were lost.

`tests/attack/weakened.py` does the taking out. The first rows are the controls: with the mechanism of the second row
still in, the same attack fails.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.attack.report import CAPABILITIES, Report, program
from tests.attack.weak import WeakHost
from tests.sandboxed import Host, Ran

# what is taken out -> (probe, attempts, what happens then); "!" before a word: anything but that
ROWS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("", "namespaces", {"c36.chroot": "EPERM", "d43.read kallsyms": "empty", "c34.unshare/NEWUSER": "EPERM"}),
    # seccomp: the kernel code behind the calls is open, though the job has no capability
    ("seccomp", "namespaces", {"c34.unshare/NEWUSER": "ok", "c34.clone/NEWUSER": "ok"}),
    ("seccomp", "processes", {"e50.int80 getpid": "!SIGSYS", "e51.io_uring_setup": "!EPERM", "e52.AF_UNIX_padded": "ok", "e56.own_filter_opens_nothing": "ok"}),
    ("seccomp", "files", {"a16.memfd_create": "!EPERM", "a23.inotify_reads": "ok", "a19.chmod/setuid": "ok"}),
    # the mount lock, CAP_SYS_ADMIN deliberately left in: attack 36 with and without the second namespace
    ("seccomp,capabilities", "namespaces", {"c35.mount/remount_in": "EPERM", "c36.umount2/kallsyms": "EINVAL", "c37.mount_setattr/in": "EPERM", "c36.chroot": "ok"}),
    ("seccomp,capabilities,landlock,lock", "namespaces", {"c35.mount/remount_in": "ok", "c36.umount2/kallsyms": "ok", "c37.mount_setattr/in": "ok", "c40.sethostname": "ok"}),
    # Landlock alone: writing into memory of a sibling through /proc, which no mount forbids
    ("landlock", "processes", {"b25.write /proc/sibling/mem": "ok"}),
    ("landlock,noexec", "files", {"a17.execute_copy_in /tmp": "!EACCES", "a17c.map_executable /tmp": "ok", "a17d.dlopen": "loaded"}),
    ("landlock,read_only", "files", {"a02.create in/new.txt": "ok"}),
    ("masks", "namespaces", {"d43.read kallsyms": "content", "d43.read interrupts": "content"}),
    ("landlock,hidden_init", "processes", {"b25.open /proc/1/maps": "!EACCES", "b26.environ": "!EACCES"}),
    ("seccomp,landlock,no_new_privs", "files", {"a19b.no_new_privs": "0"}),
    ("pid_namespace,landlock,masks", "namespaces", {"d48.visible_processes": "!own"}),
    ("limits", "resources", {"g80.forks": "no end", "g83.duplicates": "5000 made", "g83.sockets": "5000 made"}),
    ("clean_environment", "resources", {"h93.environment": "!none"}),
    ("close_range", "resources", {"h94.descriptors": "!none"}),
    ("seccomp,landlock,ipc_namespace", "resources", {"h95b.host_segment": "ok"}),
    ("seccomp,keyring", "resources", {"h92.find_the_launchers_key": "ok"}),
    ("seccomp", "resources", {"h92.find_the_launchers_key": "ENOKEY", "h95b.host_segment": "ENOENT"}),
    ("exec_check", "files", {"a17e.loader_on_ungranted_program": "RAN"}),
)  # fmt: skip


def attempt(host: Host, without: str, probe: str, only: str) -> Report:
    weak = WeakHost(host, without)
    weak.policy(
        CAPABILITIES, limits={"max_processes": 64, "max_open_files": 256, "max_disk": "64MiB", "max_wall_time": 60}
    )
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    arguments = weak.drop()
    arguments["env"] = {**arguments["env"], "PROBE_SECRET": "canary-of-the-launcher"}
    try:
        ran = subprocess.run(
            weak.command("launch", "--", *program(probe, only)),
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=90, cwd=weak.workspace, pass_fds=[fd], **arguments,
        )  # fmt: skip
    finally:
        os.close(fd)
    return Report(Ran(ran, {}))


@pytest.mark.parametrize(("without", "probe", "expected"), ROWS)
def test_attacks_work_without(attacked: Host, without: str, probe: str, expected: dict[str, str]) -> None:
    import ctypes

    libc = ctypes.CDLL(None)
    segment = libc.shmget(0x6D6C7362, 4096, 0o1666)
    try:
        report = attempt(attacked, without, probe, ",".join(expected))
    finally:
        libc.shmctl(segment, 0, None)
    for name, wanted in expected.items():
        told = report[name]
        assert told != wanted[1:] if wanted.startswith("!") else told == wanted, f"{name}: {told}, wanted {wanted}"


def test_services_of_the_host_without_a_network_namespace(attacked: Host) -> None:
    import socket

    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as abstract:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        abstract.bind("\0mlsandbox-attack-abstract")
        abstract.listen()
        attacked.write("in/host-ports", str(listener.getsockname()[1]))
        report = attempt(attacked, "network_namespace", "network", "f63,f74")
        assert report["f63.loopback 127.0.0.1"] == "ok"
        assert report["f74.connect mlsandbox-attack-abstract"] == "EPERM"
        # what backs it for abstract sockets: seccomp, and Landlock's scope from ABI 6
        report = attempt(attacked, "network_namespace,seccomp,landlock", "network", "f74")
        assert report["f74.connect mlsandbox-attack-abstract"] == "ok"


def test_programs_that_are_not_granted_without_their_cover(attacked: Host) -> None:
    """Not being mounted, Landlock and the exec check: each alone refuses the start of a program."""

    def started(without: str) -> str:
        weak = WeakHost(attacked, without)
        weak.policy({"sh": True, "cmd": ["cat"]})
        return weak.launch("sh", "-c", "id -u >/dev/null && echo started; echo end").out

    backed = ("", "covers,landlock", "covers,exec_check", "landlock,exec_check")
    assert [started(without) for without in backed] == ["end\n"] * len(backed)
    assert started("covers,landlock,exec_check") == "started\nend\n"


def test_the_product_does_not_know_the_switch(attacked: Host) -> None:
    """The same variable, the installed launcher: nothing is weaker."""
    attacked.policy(CAPABILITIES)
    arguments = attacked.drop()
    arguments["env"] = {**arguments["env"], "MLSANDBOX_TEST_WITHOUT": "seccomp,landlock"}
    ran = subprocess.run(
        attacked.command("launch", "--", *program("namespaces", "c34.unshare/NEWUSER")),
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60, cwd=attacked.workspace, **arguments,
    )  # fmt: skip
    assert Report(Ran(ran, {}))["c34.unshare/NEWUSER"] == "EPERM"
