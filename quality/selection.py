"""What a policy needs of a pool to decide: the columns its rules, its ranking and its duplicates look at."""

from collections.abc import Sequence

from quality.block_lists import STORED_COLUMNS
from quality.column_plan import ColumnPlan, catalogue, plan_columns
from quality.duplicates import FINGERPRINT_COLUMNS, IDENTITY_COLUMNS
from quality.rules import ALWAYS_READ, check_policy
from schemas.policy import Policy
from schemas.pool import Pool


def plan_selection(pool: Pool, units: Sequence[str], policy: Policy) -> ColumnPlan:
    """The columns that select reads. Raises PolicyError when the policy does not fit the pool."""
    check_policy(policy, catalogue(pool, units), where=f"policy {policy.name}")
    names = (
        *ALWAYS_READ,
        *(name for rule in policy.rules for name in rule.reads),
        *FINGERPRINT_COLUMNS,
        *IDENTITY_COLUMNS,
        policy.similarity,
        *STORED_COLUMNS,
    )
    return plan_columns(pool, units, policy, names)
