"""The proxy of one job: a single-threaded epoll loop that parses, judges, dials and splices."""
