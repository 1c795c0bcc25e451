"""What a policy needs of a pool to decide: the columns its rules, its ranking and its duplicates look at."""

from collections.abc import Sequence

from quality.block_lists import STORED_COLUMNS
from quality.column_plan import ColumnPlan, catalogue, check_scored, check_version, plan_columns
from quality.duplicates import FINGERPRINT_COLUMNS, IDENTITY_COLUMNS
from quality.rules import ALWAYS_READ, check_policy
from quality.semantic_duplicates import EMBEDDINGS, MOST_ROWS
from schemas.policy import Policy, PolicyError
from schemas.pool import Pool


def plan_selection(pool: Pool, units: Sequence[str], policy: Policy) -> ColumnPlan:
    """The columns that select reads. Raises PolicyError when the policy does not fit the pool."""
    check_version(pool, units, policy.caption_version, where=f"policy {policy.name}")
    available = catalogue(pool, units, policy.caption_version)
    for rule in policy.rules:
        if rule.column not in available:
            check_scored(pool, policy, rule.column)
    check_policy(policy, available, where=f"policy {policy.name}")
    names = (
        *ALWAYS_READ,
        *(name for rule in policy.rules for name in rule.reads),
        *FINGERPRINT_COLUMNS,
        *IDENTITY_COLUMNS,
        policy.similarity,
        *STORED_COLUMNS,
    )
    if policy.duplicates.semantic:
        _check_semantic(pool, units, policy)
        names = (*names, EMBEDDINGS)
    return plan_columns(pool, units, policy, names)


def _check_semantic(pool: Pool, units: Sequence[str], policy: Policy) -> None:
    where = f"policy {policy.name}: [duplicates]: semantic = true"
    if units and EMBEDDINGS not in catalogue(pool, units, policy.caption_version):
        raise PolicyError(
            f"{where} needs the column {EMBEDDINGS}, which no scorer of this pool wrote; run --start_at score --scorers embed"
        )
    rows = sum(commit.rows for unit in units if (commit := pool.raw_commit(unit)) is not None)
    if rows > MOST_ROWS:
        raise PolicyError(f"{where} compares embeddings in one worker's memory, at most {MOST_ROWS:,} pairs; this pool has {rows:,}")
