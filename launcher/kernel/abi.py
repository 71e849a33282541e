"""Numbers of the Linux ABI, with their C names and the header or kernel version they come from.

Only what this package calls. The system call table has one column an architecture (x86-64 is what is tested).
"""

from __future__ import annotations

import os

MACHINE = os.uname().machine

# <asm/unistd.h>; the calls from 424 on have one number everywhere.
_X86_64 = {
    "capset": 126, "clone": 56, "keyctl": 250, "mount": 165, "pivot_root": 155, "prctl": 157, "renameat2": 316,
    "seccomp": 317, "setdomainname": 171, "sethostname": 170, "setns": 308, "syncfs": 306, "umount2": 166,
    "unshare": 272, "setfsuid": 122, "setfsgid": 123, "ptrace": 101, "sched_yield": 24, "capget": 125,
    "timerfd_create": 283, "timerfd_settime": 286, "fstatfs": 138,
    "process_vm_readv": 310,
    "socket": 41, "socketpair": 53, "prlimit64": 302,
}  # fmt: skip
_AARCH64 = {
    "capset": 91, "clone": 220, "keyctl": 219, "mount": 40, "pivot_root": 41, "prctl": 167, "renameat2": 276,
    "fstatfs": 44, "seccomp": 277, "setdomainname": 162, "sethostname": 161, "setns": 268, "syncfs": 267, "umount2": 39,
    "unshare": 97, "setfsuid": 151, "setfsgid": 152, "ptrace": 117, "sched_yield": 124, "capget": 90,
    "timerfd_create": 85, "timerfd_settime": 86,
    "process_vm_readv": 270,
    "socket": 198, "socketpair": 199, "prlimit64": 261,
}  # fmt: skip
_COMMON = {
    "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "pidfd_open": 434, "close_range": 436, "openat2": 437, "pidfd_getfd": 438, "mount_setattr": 442,
    "landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446,
}  # fmt: skip
NR = {**({"x86_64": _X86_64, "aarch64": _AARCH64}.get(MACHINE, {})), **_COMMON}

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

# <asm-generic/resource.h>
RLIMIT_CPU = 0

# <linux/sched.h>
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# <linux/mount.h>
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
CLOCK_MONOTONIC = 1
TFD_NONBLOCK = os.O_NONBLOCK
TFD_CLOEXEC = os.O_CLOEXEC
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_NOSYMFOLLOW = 0x200000
MOUNT_ATTR_IDMAP = 0x100000

# <linux/openat2.h>, Linux 5.6
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

# <linux/prctl.h>
PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
# SECBIT_NOROOT|NO_SETUID_FIXUP|KEEP_CAPS_LOCKED|NO_CAP_AMBIENT_RAISE, each with its lock bit
SECUREBITS_ALL_LOCKED = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80

_LINUX_CAPABILITY_VERSION_3 = 0x20080522
CAPABILITY_HEADER = _LINUX_CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4)
CAP_SYS_ADMIN = 21

# <linux/keyctl.h>
KEYCTL_JOIN_SESSION_KEYRING = 1

# <linux/seccomp.h>
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5  # Linux 5.19
SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
SECCOMP_IOCTL_NOTIF_ID_VALID = 0x40082102
SIZEOF_SECCOMP_NOTIF = 80
SIZEOF_SECCOMP_NOTIF_RESP = 24

# <linux/fs.h>
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
