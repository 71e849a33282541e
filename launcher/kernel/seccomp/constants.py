"""The C names that a seccomp table may use, with their numbers, by header.

Equal on x86-64 and aarch64: nothing here comes from a header that differs between them. Also the system calls that
are younger than libseccomp's own tables; from 424 on a call has one number on every architecture.
"""

from __future__ import annotations

import errno

# name -> value; the comment names the header of a block
CONSTANTS: dict[str, int] = {
    # <sys/stat.h>
    "S_ISUID": 0o4000, "S_ISGID": 0o2000,
    "S_IFMT": 0o170000, "S_IFREG": 0o100000, "S_IFIFO": 0o010000, "S_IFSOCK": 0o140000,
    # <asm-generic/fcntl.h>
    "O_CREAT": 0o100, "O_WRONLY": 1, "O_TRUNC": 0o1000, "__O_TMPFILE": 0o20000000,
    "F_DUPFD": 0, "F_GETFD": 1, "F_SETFD": 2, "F_GETFL": 3, "F_SETFL": 4, "F_GETLK": 5, "F_SETLK": 6, "F_SETLKW": 7,
    "F_SETOWN": 8, "F_GETOWN": 9, "F_SETSIG": 10, "F_GETSIG": 11, "F_SETOWN_EX": 15, "F_GETOWN_EX": 16,
    "F_GETOWNER_UIDS": 17, "F_OFD_GETLK": 36, "F_OFD_SETLK": 37, "F_OFD_SETLKW": 38,
    # <linux/fcntl.h>
    "F_GETLEASE": 1025, "F_DUPFD_QUERY": 1027, "F_CREATED_QUERY": 1028, "F_CANCELLK": 1029, "F_DUPFD_CLOEXEC": 1030,
    "F_SETPIPE_SZ": 1031, "F_GETPIPE_SZ": 1032, "F_ADD_SEALS": 1033, "F_GET_SEALS": 1034, "F_GET_RW_HINT": 1035,
    "F_SET_RW_HINT": 1036, "F_GET_FILE_RW_HINT": 1037, "F_SET_FILE_RW_HINT": 1038,
    # <linux/sched.h>
    "CLONE_VM": 0x100, "CLONE_PTRACE": 0x2000, "CLONE_VFORK": 0x4000, "CLONE_PARENT": 0x8000, "CLONE_NEWNS": 0x20000,
    "CLONE_UNTRACED": 0x00800000, "CLONE_NEWCGROUP": 0x02000000, "CLONE_NEWUTS": 0x04000000,
    "CLONE_NEWIPC": 0x08000000, "CLONE_NEWUSER": 0x10000000, "CLONE_NEWPID": 0x20000000, "CLONE_NEWNET": 0x40000000,
    "CLONE_NEWTIME": 0x80, "CLONE_FS": 0x200, "CLONE_THREAD": 0x10000, "SIGCHLD": 17,
    "SCHED_OTHER": 0, "SCHED_BATCH": 3, "SCHED_IDLE": 5, "SCHED_RESET_ON_FORK": 0x40000000,
    # <linux/ioprio.h>: IOPRIO_CLASS_x << IOPRIO_CLASS_SHIFT (13); three bits of class
    "IOPRIO_CLASS_MASK": 7 << 13, "IOPRIO_CLASS_RT": 1 << 13,
    # <asm-generic/ioctls.h>, <linux/kd.h>, <linux/vt.h>, <linux/fs.h>, <linux/fsverity.h>, <linux/fscrypt.h>
    "TIOCSTI": 0x5412, "TIOCCONS": 0x541D, "TIOCLINUX": 0x541C, "TIOCSETD": 0x5423,
    "KD_GROUP": 0x4B00, "VT_GROUP": 0x5600, "GROUP_MASK": 0xFFFFFF00,
    "FS_IOC_SETFLAGS": 0x40086602, "FS_IOC_FSSETXATTR": 0x401C5820, "FS_IOC_SETVERSION": 0x40087602,
    "FS_IOC_ENABLE_VERITY": 0x40806685, "FS_IOC_SET_ENCRYPTION_POLICY": 0x800C6613,
    "FS_IOC_ADD_ENCRYPTION_KEY": 0xC0506617, "FIFREEZE": 0xC0045877, "FITHAW": 0xC0045878, "FITRIM": 0xC0185879,
    # <linux/socket.h>, <linux/net.h>, <linux/in.h>, <linux/netlink.h>
    "AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16,
    "SOCK_TYPE_MASK": 0xF, "SOCK_STREAM": 1, "SOCK_DGRAM": 2, "SOCK_RAW": 3, "SOCK_SEQPACKET": 5,
    "IPPROTO_IP": 0, "IPPROTO_TCP": 6, "IPPROTO_UDP": 17, "NETLINK_ROUTE": 0,
    # <linux/shm.h>, <linux/splice.h>, <linux/inotify.h>, <linux/personality.h>
    "SHM_EXEC": 0o100000, "SPLICE_F_GIFT": 8, "IN_ACCESS": 0x1, "IN_CLOSE_NOWRITE": 0x10, "IN_OPEN": 0x20,
    "PER_LINUX": 0, "PER_QUERY": 0xFFFFFFFF, "ADDR_NO_RANDOMIZE": 0x0040000,
    # <linux/seccomp.h>
    "SECCOMP_SET_MODE_STRICT": 0, "SECCOMP_SET_MODE_FILTER": 1, "SECCOMP_GET_ACTION_AVAIL": 2,
    "SECCOMP_FILTER_FLAG_NEW_LISTENER": 8,
    # <linux/prctl.h>
    "PR_SET_PDEATHSIG": 1, "PR_GET_PDEATHSIG": 2, "PR_GET_DUMPABLE": 3, "PR_SET_DUMPABLE": 4, "PR_GET_KEEPCAPS": 7,
    "PR_SET_KEEPCAPS": 8, "PR_GET_TIMING": 13, "PR_SET_NAME": 15, "PR_GET_NAME": 16, "PR_GET_SECCOMP": 21,
    "PR_SET_SECCOMP": 22, "PR_CAPBSET_READ": 23, "PR_GET_TSC": 25, "PR_GET_SECUREBITS": 27, "PR_SET_TIMERSLACK": 29,
    "PR_GET_TIMERSLACK": 30, "PR_MCE_KILL_GET": 34, "PR_SET_CHILD_SUBREAPER": 36, "PR_GET_CHILD_SUBREAPER": 37,
    "PR_SET_NO_NEW_PRIVS": 38, "PR_GET_NO_NEW_PRIVS": 39, "PR_GET_TID_ADDRESS": 40, "PR_SET_THP_DISABLE": 41,
    "PR_GET_THP_DISABLE": 42, "PR_CAP_AMBIENT": 47, "PR_CAP_AMBIENT_IS_SET": 1, "PR_CAP_AMBIENT_CLEAR_ALL": 4,
    "PR_SVE_SET_VL": 50, "PR_SVE_GET_VL": 51, "PR_GET_SPECULATION_CTRL": 52, "PR_PAC_RESET_KEYS": 54,
    "PR_SET_TAGGED_ADDR_CTRL": 55, "PR_GET_TAGGED_ADDR_CTRL": 56, "PR_PAC_SET_ENABLED_KEYS": 60,
    "PR_PAC_GET_ENABLED_KEYS": 61, "PR_SME_SET_VL": 63, "PR_SME_GET_VL": 64, "PR_SET_MDWE": 65, "PR_GET_MDWE": 66,
    "PR_SET_VMA": 0x53564D41, "PR_GET_AUXV": 0x41555856,
    # <asm/prctl.h> (x86)
    "ARCH_SET_GS": 0x1001, "ARCH_SET_FS": 0x1002, "ARCH_GET_FS": 0x1003, "ARCH_GET_GS": 0x1004,
    "ARCH_GET_CPUID": 0x1011, "ARCH_GET_XCOMP_SUPP": 0x1021, "ARCH_GET_XCOMP_PERM": 0x1022,
    "ARCH_REQ_XCOMP_PERM": 0x1023, "ARCH_GET_UNTAG_MASK": 0x4001, "ARCH_GET_MAX_TAG_BITS": 0x4003,
    "ARCH_SHSTK_ENABLE": 0x5001, "ARCH_SHSTK_DISABLE": 0x5002, "ARCH_SHSTK_LOCK": 0x5003, "ARCH_SHSTK_STATUS": 0x5005,
}  # fmt: skip

# <asm-generic/unistd.h> of Linux 6.19: calls that a libseccomp of 2.5 may not know yet
YOUNG_CALLS: dict[str, int] = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_open": 434, "clone3": 435,
    "close_range": 436, "openat2": 437, "pidfd_getfd": 438, "faccessat2": 439, "process_madvise": 440,
    "epoll_pwait2": 441, "mount_setattr": 442, "quotactl_fd": 443, "landlock_create_ruleset": 444,
    "landlock_add_rule": 445, "landlock_restrict_self": 446, "memfd_secret": 447, "process_mrelease": 448,
    "futex_waitv": 449, "set_mempolicy_home_node": 450,
    "cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454, "futex_wait": 455,
    "futex_requeue": 456, "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459, "lsm_set_self_attr": 460,
    "lsm_list_modules": 461, "mseal": 462, "setxattrat": 463, "getxattrat": 464, "listxattrat": 465,
    "removexattrat": 466, "open_tree_attr": 467, "file_getattr": 468, "file_setattr": 469, "listns": 470,
}  # fmt: skip

ERRNOS: dict[str, int] = {name: getattr(errno, name) for name in ("EPERM", "ENOSYS", "EOPNOTSUPP", "EACCES")}
