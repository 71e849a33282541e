"""The mount plan: a Profile held against what is on disk at launch. Reads the disk, changes nothing."""
