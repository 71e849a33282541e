"""The degraded backend: no namespaces and no mounts, just Landlock, seccomp and rlimits on the host's own tree."""
