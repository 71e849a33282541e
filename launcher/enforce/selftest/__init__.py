"""The safe part of the attack suite, for the user's own host: attempts inside a job, scored outside."""
