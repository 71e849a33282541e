"""File systems whose files are the kernel's own words: who reads or writes one is asked, not who opened it.

/proc/PID/timerslack_ns may be opened for writing by anybody and asks for CAP_SYS_NICE at write(2); the addresses in
/proc/PID/stat are there or not by the rights of who calls read(2). A privileged process that carries somebody's bytes
to or from such a descriptor lends its rights.
"""

from __future__ import annotations

from launcher.kernel import libc

# f_type of statfs(2), from <linux/magic.h>
_ASKING = frozenset({
    0x9FA0,      # proc
    0x62656572,  # sysfs
    0x27E0EB,    # cgroup
    0x63677270,  # cgroup2
    0x64626720,  # debugfs
    0x74726163,  # tracefs
    0x73636673,  # securityfs
    0xF97CFF8C,  # selinuxfs
    0x43415D53,  # smackfs
    0x62656570,  # configfs
    0xCAFE4A11,  # bpf
    0xDE5E81E4,  # efivarfs
    0x42494E4D,  # binfmt_misc
    0x6165676C,  # pstore
    0x65735543,  # fusectl
    0x07655821,  # resctrl
    0x19800202,  # mqueue
    0x6E736673,  # nsfs
    0x50494446,  # pidfs
    0x09041934,  # anonymous inodes
})  # fmt: skip


def asks_who_uses(fd: int) -> bool:
    """Whether what `fd` is open for is of such a file system. Raises OSError."""
    return libc.fstatfs(fd) in _ASKING
