"""The texts that `mlsandbox init` writes. Both are read by the tests with the parsers they are for."""

from __future__ import annotations

CONFIG_TEMPLATE = """\
# mlsandbox configuration. What is commented out shows the default or an example.
# Reference: docs/reference/policy.md, "The configuration".

# Members of this group may launch for others and administer; so may root.
operators: @OPERATORS@

# The ids that tenants' jobs run with. Nobody else on this host may use them.
@IDS@id_range: {first: @FIRST@, count: @COUNT@}

# How identity tokens are verified. The algorithm is fixed here; a token cannot choose it.
# jwt:
#   algorithm: RS256              # HS256, RS256, ES256 or EdDSA
#   key_file: /etc/mlsandbox/jwt.pem   # a public key in PEM; for HS256 a secret of 32 bytes or more, mode 0600
#   issuer: https://login.example.com
#   audience: mlsandbox

# Where the audit log is, and what happens when it cannot be written.
# audit:
#   path: /var/log/mlsandbox/audit.jsonl
#   on_failure: refuse            # or continue

# Ceilings for every job, whatever its policies say.
# limits:
#   max_memory: 8GiB
#   max_wall_time: 24h

# These users may not launch, however they authenticate.
# disabled_users: []
"""

STARTER_POLICY = """\
# A first policy: a job may read its workspace, write below output/, and nothing else. Copy it and change the copy.
# Reference: docs/reference/policy.md
policy:
  name: Starter
  description: Read the workspace, write below output/

  applies_to:
    users: @USERS@

  capabilities:
    file:
      - patterns: ["@base/**"]
        operations: [read]
      - patterns: ["@base/output/**"]
        operations: [write, append]
    path:
      - patterns: ["@base/**"]
        operations: [read]
      - patterns: ["@base/output/**"]
        operations: [write]

    # Programs that `mlsandbox launch -- CMD` may run. Without any, only ML programs launch.
    # cmd: [make, "@git", "npm run test:*"]
    # sh: true
    # network:
    #   - hosts: [api.example.com]
    #     operations: [https]

  deny:
    - file.read:**/.env
    - file.read:**/.git/**

  limits:
    max_wall_time: 1h
    max_open_files: 1024
    max_output: 64MiB
"""
