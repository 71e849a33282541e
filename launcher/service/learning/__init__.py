"""`mlsandbox learn`: run a job confined, see what it was refused, and propose the policy with which it passes."""
