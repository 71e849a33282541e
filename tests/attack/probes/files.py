"""Group A, from inside: reaching files that are not granted, and doing to granted ones what is not."""

from __future__ import annotations

import _ctypes
import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.attack.probes.harness import add, case, opened, outcome, raw, syscalls

if TYPE_CHECKING:
    from collections.abc import Callable

UNGRANTED = (
    "/usr/lib/git-core/git", "/usr/lib/apt/apt-helper", "/usr/lib/apt/methods/file", "/usr/lib/openssh/sftp-server",
)  # fmt: skip
AT_FDCWD = -100
FORBIDDEN = (
    "/etc/shadow", "/root/.ssh/id_ed25519", "/root/.bashrc", "/home/bob/x", "/var/run/secrets/kubernetes.io", "/etc/ssl/private",
    "/etc/sudoers", "/var/lib/dpkg/status", "/run/utmp", "secret/key", "secret",
)  # fmt: skip


def size(path: str) -> str:
    return f"size {os.stat(path).st_size}"


def text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return "read " + file.read(40)


for _path in FORBIDDEN:
    add(f"a01.open {_path}", text, _path)
    add(f"a01.stat {_path}", size, _path)


def create(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


for _path in (
    "/usr/x", "/etc/ld.so.preload", "/usr/lib/python3/sitecustomize.py", "/etc/passwd", "/etc/hosts", "/x", "/proc/x",
    "/dev/x", "/usr/bin/x", "/home/x", "in/new.txt", "in/plain.txt", "probes/new.py", "/bin/x", "/lib/x",
):  # fmt: skip
    add(f"a02.create {_path}", create, _path)


@case("a03.link_out")
def link_out() -> str:
    os.symlink("/etc/shadow", "out/s")
    return outcome(lambda: text("out/s"))


@case("a04.parent_link")
def parent_link() -> str:
    os.symlink("/", "out/d")
    return outcome(lambda: text("out/d/etc/shadow"))


@case("a04.swap_granted_directory")
def swap_granted_directory() -> None:
    """The host has out/sub; here it becomes a link, and what is written through it must not reach the host."""
    os.rename("out/sub/old.txt", "out/moved.txt")
    os.rmdir("out/sub")
    os.symlink("/tmp", "out/sub")
    with open("out/sub/through-a-link.txt", "w", encoding="utf-8") as file:
        file.write("evil")


add("a07.link /etc/passwd", lambda: os.link("/etc/passwd", "out/h"))
add("a07.link granted", lambda: os.link("in/plain.txt", "out/h"))
add("a07.link program", lambda: os.link(sys.executable, "out/h"))
add("a07.rename granted", lambda: os.rename("in/plain.txt", "out/h"))

for _path in (
    "/../etc/shadow", "//etc//shadow", "/./etc/./shadow", "/etc/shadow/", "/proc/self/root/etc/shadow", "in/../secret/key",
    "/proc/self/cwd/../../../../../../etc/shadow", "in/sub/../../secret/key", "/proc/thread-self/root/root/.bashrc",
    "/dev/fd/../../../etc/shadow",
):  # fmt: skip
    add(f"a11.open {_path}", text, _path)

for _path in ("/proc/1/root/etc/shadow", "/proc/1/cwd", "/proc/1/root"):
    add(f"a12.open {_path}", opened, _path, os.O_RDONLY)


@case("a12.roots")
def roots() -> str:
    """No process in view shows a root with the host's secrets."""
    seen = [pid for pid in os.listdir("/proc") if pid.isdigit() and os.path.exists(f"/proc/{pid}/root/etc/shadow")]
    return f"seen {seen}" if seen else "none"


@case("a13.shocker")
def shocker() -> None:
    for inode in (2, 128, 64):
        handle = ctypes.create_string_buffer(struct.pack("IiQ", 8, 1, inode), 16)
        raw("open_by_handle_at", os.open("/usr", os.O_RDONLY), handle, os.O_RDONLY)


def descriptors() -> list[int]:
    """Those that are open in this process, the listing's own left out."""
    listing = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    try:
        return sorted({int(name) for name in os.listdir(listing)} - {listing, listing + 1})
    finally:
        os.close(listing)


@case("a14.directory_descriptors")
def directory_descriptors() -> str:
    found = [fd for fd in range(4096) if outcome(lambda fd=fd: os.stat("etc", dir_fd=fd)) == "ok"]  # type: ignore[misc]
    return f"descriptors {found}" if found else "none"


for _fd in range(3, 12):
    if _fd not in descriptors():
        add(f"a14.chdir_by_descriptor_{_fd}", os.chdir, f"/proc/self/fd/{_fd}")

add("a15.write_own_image", lambda: os.close(os.open("/proc/self/exe", os.O_RDWR)))
add("a15.truncate_own_image", lambda: os.truncate("/proc/self/exe", 0))
add("a15.write_image_of_pid_1", lambda: os.close(os.open("/proc/1/exe", os.O_RDWR)))
add("a15.write_interpreter", lambda: os.close(os.open(os.path.realpath(sys.executable), os.O_RDWR)))


@case("a15b.interpreter_is_unchanged")
def interpreter_digest() -> str:
    with open("/proc/self/exe", "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


@case("a16.memfd_create")
def anonymous_image() -> None:
    fd = raw("memfd_create", b"x\0", 0)
    os.write(fd, b"#!/nothing\n")
    raw("execveat", fd, b"\0", None, None, 0x1000)


syscalls("a16", {"memfd_create/huge": (b"x\0", 4), "memfd_create/exec": (b"x\0", 0x10), "memfd_secret": (0,)})


def copy_of_python(path: str) -> str:
    shutil.copyfile(os.path.realpath(sys.executable), path)
    os.chmod(path, 0o755)
    return path


def with_copy(path: str, attempt: Callable[[str], object]) -> object:
    """The attempt on a copy that is gone afterwards: scratch is small here."""
    try:
        return attempt(copy_of_python(path))
    finally:
        os.unlink(path)


def execute(*words: str, **environment: str) -> str:
    done = subprocess.run(words, capture_output=True, check=False, env={**os.environ, **environment}, timeout=5)
    if done.returncode == -signal.SIGKILL:
        return "killed"  # by the exec check: no instruction of the image ran
    return (done.stdout + done.stderr).decode("utf-8", "replace").strip()[-200:]


def execute_copy(directory: str) -> str:
    return str(with_copy(f"{directory}/copy", lambda path: execute(path, "-I", "-c", "print('RAN')")))


for _directory in ("/tmp", "out", "/dev/shm", "/var/tmp"):
    add(f"a17.execute_copy_in {_directory}", execute_copy, _directory)


@case("a17.execveat_descriptor")
def execveat_descriptor() -> None:
    with_copy("/tmp/copy2", lambda path: os.execve(os.open(path, os.O_RDONLY), ["x", "-c", "print('RAN')"], {}))


def by_loader(path: str, *words: str) -> str:
    for loader in ("/lib64/ld-linux-x86-64.so.2",):
        return "RAN" if "RAN" in execute(loader, path, *words) else "refused"
    return "no loader"


add("a17b.loader_on_tmp", lambda: with_copy("/tmp/copy3", lambda path: by_loader(path, "-I", "-c", "print('RAN')")))
add("a17b.loader_on_staged", lambda: with_copy("out/copy3", lambda path: by_loader(path, "-I", "-c", "print('RAN')")))
add("a17b.loader_on_shm", lambda: with_copy("/dev/shm/copy3", lambda path: by_loader(path, "-I", "-c", "print('RAN')")))


def map_executable(path: str) -> None:
    """What LD_PRELOAD, dlopen and an own program loader do with a file."""
    import mmap

    with open(path, "rb") as file:
        mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)


for _directory in ("/tmp", "out", "/dev/shm"):
    add(f"a17c.map_executable {_directory}", with_copy, f"{_directory}/map", map_executable)


@case("a17d.dlopen")
def dlopen() -> str:
    """An extension module of Python's own, copied to where the job may write."""
    shutil.copyfile(_ctypes.__file__, "/tmp/evil.so")
    try:
        ctypes.CDLL("/tmp/evil.so")
    except OSError as error:
        return "refused" if "failed to map segment" in str(error) else str(error)
    return "loaded"


@case("a17d.preload")
def preload() -> str:
    """A preloaded object on a noexec mount is ignored by the loader; here it says so."""
    shutil.copyfile(_ctypes.__file__, "/tmp/evil.so")
    code = "print('LOADED' if any('evil' in row and 'r-x' in row for row in open('/proc/self/maps')) else 'clean')"
    told = execute(sys.executable, "-I", "-c", code, LD_PRELOAD="/tmp/evil.so")
    return "ignored" if told.startswith("clean") or told.endswith("clean") else told


@case("a17e.loader_on_ungranted_program")
def loader_on_ungranted_program() -> str:
    """ld.so started by hand on a readable program of an executable mount that no rule names."""
    path = next((path for path in UNGRANTED if os.path.exists(path)), "")
    if not path:
        return "none in view"
    told = execute("/lib64/ld-linux-x86-64.so.2", path, "--version")
    return "RAN" if "version" in told.lower() or "usage" in told.lower() else told


for _name, _mode, _device in (
    ("block", stat.S_IFBLK, (254, 0)), ("character", stat.S_IFCHR, (1, 1)), ("null", stat.S_IFCHR, (1, 3)),
):  # fmt: skip
    for _directory in ("/tmp", "out", "/dev"):
        add(f"a18.mknod_{_name} {_directory}", os.mknod, f"{_directory}/n", _mode | 0o666, os.makedev(*_device))
for _path in (
    "vda", "sda", "nvme0n1", "mem", "kmem", "port", "kvm", "fuse", "net/tun", "kmsg", "loop-control", "loop0", "uinput",
    "console", "tty0", "tty1", "input/event0", "dri/card0", "snd", "mapper/control", "vhost-net", "vsock", "userfaultfd",
    "hpet", "rtc0", "nvram", "cpu/0/msr", "autofs", "btrfs-control", "cuse", "rfkill", "vfio/vfio", "mqueue", "hugepages",
):  # fmt: skip
    add(f"a18.open {_path}", opened, f"/dev/{_path}", os.O_RDONLY)

for _mode, _word in ((stat.S_ISUID, "setuid"), (stat.S_ISGID, "setgid")):
    syscalls("a19", {
        f"creat/{_word}": (b"out/set-id\0", 0o755 | _mode),
        f"open/{_word}": (b"out/set-id\0", os.O_CREAT | os.O_WRONLY, 0o755 | _mode),
        f"openat/{_word}": (AT_FDCWD, b"out/set-id\0", os.O_CREAT | os.O_WRONLY, 0o755 | _mode),
        f"chmod/{_word}": (b"out/old.txt\0", 0o755 | _mode),
        f"fchmodat/{_word}": (AT_FDCWD, b"out/old.txt\0", 0o755 | _mode),
        f"fchmodat2/{_word}": (AT_FDCWD, b"out/old.txt\0", 0o755 | _mode, 0),
        f"mknod/{_word}": (b"out/set-id\0", stat.S_IFREG | 0o755 | _mode, 0),
        f"chmod/{_word}_padded": (b"out/old.txt\0", 0o755 | _mode | 1 << 32),
    })  # fmt: skip


@case("a19.openat2_mode")
def openat2_mode() -> None:
    """A mode behind a pointer cannot be judged, so the call is not there."""
    how = ctypes.create_string_buffer(struct.pack("QQQ", os.O_CREAT | os.O_WRONLY, 0o4755, 0), 24)
    raw("openat2", AT_FDCWD, b"out/set-id\0", how, 24)


@case("a19b.no_new_privs")
def no_new_privs() -> str:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(line.split()[1] for line in file if line.startswith("NoNewPrivs"))


@case("a19c.mounts_without_nosuid")
def mounts_without_nosuid() -> str:
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
        rows = [line.split() for line in file]
    bad = [row[1] for row in rows if "nosuid" not in row[3].split(",")]
    return f"mounts {bad}" if bad else "none"


@case("a19d.setuid_programs")
def setuid_programs() -> str:
    """The ids of programs that have the set-uid bit on the host, when they have been started here."""
    seen = []
    for name in ("su", "mount", "passwd", "gpasswd", "newgrp"):
        path = shutil.which(name)
        if not path or not os.stat(path).st_mode & stat.S_ISUID:
            continue
        process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(f"/proc/{process.pid}/status", encoding="ascii") as file:  # a zombie's still says it
            ids = next(line.split()[1:] for line in file if line.startswith("Uid"))
        process.kill()
        process.wait()
        seen.append("same" if set(ids) == {str(os.getuid())} else f"{name} {ids}")
    return ",".join(sorted(set(seen))) or "none in view"


syscalls("a20", {
    "setxattr": (b"out/old.txt\0", b"user.x\0", b"1", 1, 0),
    "setxattr/capability": (b"out/old.txt\0", b"security.capability\0", b"\1\0\0\2" + bytes(16), 20, 0),
    "setxattr/overlay": (b"out/sub\0", b"user.overlay.opaque\0", b"y", 1, 0),
    "setxattrat": (AT_FDCWD, b"out/old.txt\0", 0, b"user.x\0", b"1", 1),
})  # fmt: skip


def file_ioctl(request: int) -> None:
    fcntl.ioctl(os.open("out/old.txt", os.O_RDWR), request, bytes(128))


for _name, _request in (
    ("FS_IOC_SETFLAGS", 0x40086602), ("FS_IOC_FSSETXATTR", 0x401C5820), ("FS_IOC_ENABLE_VERITY", 0x40806685),
    ("FIFREEZE", 0xC0045877),
):  # fmt: skip
    add(f"a20.ioctl_{_name}", file_ioctl, _request)


@case("a21.whiteout")
def whiteout() -> None:
    os.mknod("out/w", stat.S_IFCHR, os.makedev(0, 0))


@case("a21.rename_whiteout")
def rename_whiteout() -> None:
    """RENAME_WHITEOUT leaves a whiteout behind."""
    create("out/rw")
    raw(316, AT_FDCWD, b"out/rw\0", AT_FDCWD, b"out/rw2\0", 4)


@case("a23.inotify_reads")
def inotify_reads() -> None:
    fd = raw(294, 0)
    raw(254, fd, b"/usr/bin\0", 0x1)


add("a23.inotify_opens", lambda: raw(254, raw(294, 0), b"/usr/bin\0", 0x20))
add("a23.F_NOTIFY", lambda: fcntl.fcntl(os.open("/usr", os.O_RDONLY), 1026, 1))
add("a23.fanotify", lambda: raw("fanotify_init", 0, 0))
add("a23.lease", lambda: fcntl.fcntl(os.open("out/old.txt", os.O_RDONLY), 1024, 0))
