"""Groups C and D, from inside: new namespaces and mounts, /proc and /sys."""

from __future__ import annotations

import ctypes
import os
import struct

from tests.attack.probes.harness import X32, add, case, opened, outcome, raw, syscalls

CLONE = {
    "NEWNS": 0x20000, "NEWCGROUP": 0x2000000, "NEWUTS": 0x4000000, "NEWIPC": 0x8000000, "NEWUSER": 0x10000000,
    "NEWPID": 0x20000000, "NEWNET": 0x40000000,
}  # fmt: skip
SIGCHLD = 17
AT_FDCWD = -100
MS_BIND, MS_MOVE, MS_REMOUNT, MS_RDONLY, MS_REC, MS_SHARED = 4096, 8192, 32, 1, 16384, 1 << 20
MNT_DETACH = 2

for _name, _flag in CLONE.items():
    syscalls("c34", {
        f"unshare/{_name}": (_flag,),
        f"unshare/{_name}_padded": (_flag | 1 << 40,),
        f"unshare/{_name}_with_others": (_flag | 0x200,),
        f"clone/{_name}": (_flag | SIGCHLD, 0, 0, 0, 0),
    })  # fmt: skip
    add(f"c34.clone_x32 {_name}", raw, 56 | X32, _flag | SIGCHLD, 0, 0, 0, 0)
syscalls("c34", {"unshare/NEWTIME": (0x80,)})


@case("c34b.clone3")
def clone3() -> None:
    arguments = ctypes.create_string_buffer(struct.pack("Q" * 11, CLONE["NEWUSER"], 0, 0, 0, SIGCHLD, *[0] * 6), 88)
    raw("clone3", arguments, 88)


syscalls("c35", {
    "mount/tmpfs": (b"x\0", b"/tmp\0", b"tmpfs\0", 0, None),
    "mount/proc": (b"x\0", b"/proc\0", b"proc\0", 0, None),
    "mount/overlay": (b"x\0", b"/tmp\0", b"overlay\0", 0, b"lowerdir=/usr,upperdir=/tmp,workdir=/tmp\0"),
    "mount/bind": (b"/usr\0", b"/tmp\0", None, MS_BIND | MS_REC, None),
    "mount/remount_writable": (b"x\0", b"/usr\0", None, MS_REMOUNT | MS_BIND, None),
    "mount/remount_in": (b"x\0", b"in\0", None, MS_REMOUNT | MS_BIND, None),
    "mount/shared": (b"x\0", b"/\0", None, MS_SHARED | MS_REC, None),
    "mount/cgroup": (b"x\0", b"/tmp\0", b"cgroup\0", 0, b"rdma\0"),
    "mount/padded": (b"x\0", b"/usr\0", None, (MS_REMOUNT | MS_BIND) | 1 << 40, None),
})  # fmt: skip
syscalls("c36", {
    "umount2/kallsyms": (b"/proc/kallsyms\0", MNT_DETACH),
    "umount2/programs": (b"/usr/bin\0", MNT_DETACH),
    "umount2/usr": (b"/usr\0", MNT_DETACH),
    "umount2/proc": (b"/proc\0", MNT_DETACH),
    "pivot_root": (b".\0", b".\0"),
    "chroot": (b"/tmp\0",),
    "chroot/cwd": (b".\0",),
    "mount/move": (b"/proc/kallsyms\0", b"/tmp\0", None, MS_MOVE, None),
})  # fmt: skip
ATTRIBUTES = struct.pack("QQQQ", 0, MS_RDONLY, 0, 0)  # clear read-only
syscalls("c37", {
    "fsopen": (b"tmpfs\0", 0),
    "fspick": (AT_FDCWD, b"/\0", 0),
    "fsconfig": (0, 6, None, None, 0),
    "fsmount": (0, 0, 0),
    "open_tree": (AT_FDCWD, b"/usr\0", 1),
    "open_tree_attr": (AT_FDCWD, b"/usr\0", 1, ATTRIBUTES, 32),
    "move_mount": (AT_FDCWD, b"/usr\0", AT_FDCWD, b"/tmp\0", 0),
    "mount_setattr": (AT_FDCWD, b"/usr\0", 0x8000, ATTRIBUTES, 32),
    "mount_setattr/in": (AT_FDCWD, b"in\0", 0x8000, ATTRIBUTES, 32),
    "statmount": (b"\0" * 24, None, 0, 0),
    "listmount": (b"\0" * 24, None, 0, 0),
})  # fmt: skip


def enter(kind: str) -> None:
    raw("setns", os.open(f"/proc/self/ns/{kind}", os.O_RDONLY), 0)


for _kind in ("user", "mnt", "net", "pid", "ipc", "uts", "cgroup", "time"):
    add(f"c38.open_ns_of_pid_1 {_kind}", opened, f"/proc/1/ns/{_kind}", os.O_RDONLY)
    add(f"c38.setns_own {_kind}", enter, _kind)
add("c38.setns_pidfd", lambda: raw("setns", raw("pidfd_open", 1, 0), CLONE["NEWNET"]))


@case("c38.get_parent_namespace")
def _parent_namespace() -> None:
    import fcntl

    fcntl.ioctl(os.open("/proc/self/ns/user", os.O_RDONLY), 0xB702, 0)  # NS_GET_PARENT


@case("c39.propagation")
def _propagation() -> str:
    """Every mount is private: neither shared with the host nor its slave."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        rows = [line.split(" - ")[0].split() for line in file]
    bad = [row[4] for row in rows if any(word.startswith(("shared:", "master:")) for word in row[6:])]
    return f"mounts {bad}" if bad else "private"


def _map(name: str) -> str:
    with open(f"/proc/self/{name}", encoding="ascii") as file:
        return " ".join(file.read().split())


add("c40.sethostname", lambda: raw("sethostname", b"evil", 4))
add("c40.setdomainname", lambda: raw("setdomainname", b"evil", 4))
add("c40.hostname_file", lambda: write("/proc/sys/kernel/hostname", b"evil"))
add("c40b.uid_map", lambda: _map("uid_map"))
add("c40b.gid_map", lambda: _map("gid_map"))
add("c40c.setgroups", lambda: _map("setgroups"))


def write(path: str, data: bytes | None = None) -> None:
    """Writes back what stands there, which is harmless where it is open."""
    if data is None:
        with open(path, "rb") as file:
            data = file.read()
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


add("d41.core_pattern", lambda: write("/proc/sys/kernel/core_pattern"))
for _path in (
    "kernel/modprobe", "kernel/hotplug", "kernel/poweroff_cmd", "kernel/core_pipe_limit", "net/ipv4/ip_forward",
    "net/ipv4/ping_group_range", "vm/overcommit_memory", "vm/drop_caches", "vm/panic_on_oom", "kernel/yama/ptrace_scope",
    "kernel/unprivileged_bpf_disabled", "fs/file-max", "fs/suid_dumpable", "fs/protected_symlinks",
    "user/max_user_namespaces", "kernel/ns_last_pid", "kernel/shmmax", "fs/mqueue/msg_max",
    "fs/binfmt_misc/register", "kernel/usermodehelper/bset", "kernel/panic",
):  # fmt: skip
    # opened only: what a write would do to the host is not tried
    add(f"d42.open {_path}", opened, f"/proc/sys/{_path}", os.O_WRONLY)

MASKED = (
    "kcore", "kmsg", "kallsyms", "keys", "key-users", "timer_list", "sched_debug", "acpi", "scsi", "interrupts",
    "iomem", "ioports", "modules", "slabinfo", "vmallocinfo", "pagetypeinfo", "kpagecount", "kpageflags", "config.gz",
    "latency_stats", "asound", "bootconfig", "mtrr", "dynamic_debug", "sysrq-trigger", "vmcore",
)  # fmt: skip


def _content(path: str) -> str:
    if os.path.isdir(path):
        return "empty" if not os.listdir(path) else f"entries {os.listdir(path)[:5]}"
    with open(path, "rb") as file:
        return "empty" if not file.read(64) else "content"


for _path in MASKED:
    add(f"d43.read {_path}", _content, f"/proc/{_path}")
add("d43c.syslog", lambda: raw("syslog", 3, ctypes.create_string_buffer(100), 100))
add("d43d.masks_are_read_only", lambda: os.mkdir("/proc/acpi/x"))


def _device(path: str) -> str:
    found = os.stat(path)
    return "null device" if found.st_rdev == os.makedev(1, 3) else "the real file"


add("d44.null_is_null", _device, "/dev/null")


@case("d43b.sysrq")
def sysrq() -> str:
    opened("/proc/sysrq-trigger", os.O_WRONLY)
    return _device("/proc/sysrq-trigger")


for _path in ("/sys", "/sys/kernel", "/sys/fs/cgroup", "/sys/class/net", "/sys/firmware", "/sys/kernel/debug", "/sys/kernel/tracing",
              "/sys/devices/virtual/powercap", "/sys/kernel/security", "/run", "/var/run", "/cgroup", "/boot"):  # fmt: skip
    add(f"d46.stat {_path}", os.stat, _path)
for _path in ("uevent_helper", "notes", "mm/transparent_hugepage/enabled"):
    add(f"d45.write {_path}", opened, f"/sys/kernel/{_path}", os.O_WRONLY)
add(
    "d45.cgroup_filesystems",
    lambda: _filesystems("cgroup", "cgroup2", "sysfs", "debugfs", "tracefs", "securityfs", "bpf"),
)


def _filesystems(*kinds: str) -> str:
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
        found = [line.split()[2] for line in file]
    return "absent" if not set(kinds) & set(found) else f"mounted {set(kinds) & set(found)}"


for _name, _data in (
    ("uid_map", b"0 0 1"), ("gid_map", b"0 0 1"), ("setgroups", b"allow"), ("oom_score_adj", b"-1000"),
    ("timens_offsets", b"monotonic 100 0"), ("attr/current", b"unconfined"), ("loginuid", b"0"), ("clear_refs", b"1"),
    ("coredump_filter", b"ff"), ("comm", b"x"), ("mem", b"x"), ("autogroup", b"1"), ("sched", b"1"), ("task/self/comm", b"x"),
):  # fmt: skip
    add(f"d47.write {_name}", write, f"/proc/self/{_name}", _data)


@case("d48.visible_processes")
def visible_processes() -> str:
    pids = [pid for pid in os.listdir("/proc") if pid.isdigit()]
    return f"{len(pids)} processes" if len(pids) > 4 else "own"


@case("d48.kernel_threads")
def kernel_threads() -> str:
    names = [outcome(lambda pid=pid: _text(f"/proc/{pid}/comm")) for pid in os.listdir("/proc") if pid.isdigit()]  # type: ignore[misc]
    return "seen" if any("kthreadd" in name or "systemd" in name for name in names) else "none"


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
