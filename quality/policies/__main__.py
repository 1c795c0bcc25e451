"""`python -m quality.policies`: the packaged policies. `--schema`: the JSON Schema of policy files, as policy.schema.json holds it.
`--reference FILE`: puts what may stand in a policy, and what is packaged, between the marks of a page."""

import argparse
import json
import sys
from collections.abc import Sequence

from quality.pages import PageError, write_generated
from quality.policies.reference import reference
from quality.rules import PACKAGED, find_policy
from schemas.policy_schema import policy_schema


def schema_text() -> str:
    """What policy.schema.json has to hold: python -m quality.policies --schema > quality/policies/policy.schema.json"""
    return json.dumps(policy_schema(), indent=1, ensure_ascii=False) + "\n"


def listing() -> str:
    """Each packaged policy: its name, the scorers that its bounds were calibrated on, and what it is for."""
    lines = []
    for path in sorted(PACKAGED.glob("*.toml")):
        policy = find_policy(path.stem)
        scorers = dict.fromkeys(rule.scorer for rule in policy.rules if rule.scorer)
        lines.append(f"{policy.name:<18}{', '.join(scorers) or 'any scorer'}\n{'':<18}{policy.description}\n")
    return "".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m quality.policies", description="The packaged policies.", allow_abbrev=False)
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of policy files instead")
    parser.add_argument("--reference", metavar="FILE", help="put the reference between the marks of this page, as README.md here has them")
    args = parser.parse_args(argv)
    if args.reference is not None:
        try:
            write_generated(args.reference, reference())
        except PageError as error:
            parser.error(str(error))
        return 0
    sys.stdout.write(schema_text() if args.schema else listing())
    return 0


if __name__ == "__main__":
    sys.exit(main())
