"""Staged writes (design section 8): a job writes into scratch, and what it was granted is committed afterwards.

    areas     which directories are staged, and over what lower             (pure)
    snapshot  the granted names of an area, copied by descriptor
    changes   what the job did, read from the overlay's upper layer
    judge     each change held against the grants                          (pure)
    commit    what was accepted reaches the host: temporary files, journal, renames
    review    the changes and a text diff, for a person to say yes to

docs/explanation/staged-writes.md tells it as a story.
"""
