"""The packaged policies, and the JSON Schema by which editors check and complete policy files. Names and paths: quality.rules.find_policy."""
