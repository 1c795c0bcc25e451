"""What a rule is: a Great Expectations expectation, a subclass whose name says what holds; and a suite, a list of them about one table.

Importing this takes seconds of CPU (Great Expectations imports SciPy and pandas); only checking gates does, never a worker.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import great_expectations.expectations as gxe
from great_expectations.expectations.metadata_types import FailureSeverity

ValueSet = list[Any] | dict[Any, Any]  # as Great Expectations declares its fields
RowCondition = Literal["both_values_are_missing", "either_value_is_missing", "neither"] | dict[Any, Any]
_ZERO: ValueSet = [0]
_ONE: ValueSet = [1]


@dataclass(frozen=True)
class Suite:
    """table: of quality.gates.tables.TABLES. rules: expectations about it, each of its own class.

    A rule with the class name of an earlier one about the same table takes its place: so a user's file changes a bound or a severity of ours.
    """

    name: str
    table: str
    rules: Sequence[Any]


class Warn(gxe.ExpectColumnValuesToBeBetween):
    """A bound on every value that was measured; both ends are inclusive. Told, and no reason to stop: the severity is a warning."""

    severity: FailureSeverity = FailureSeverity.WARNING


class Stop(gxe.ExpectColumnValuesToBeBetween):
    """A bound on every value that was measured; both ends are inclusive. Beyond it nothing is published."""


class Zero(gxe.ExpectColumnValuesToBeInSet):
    """Every value that was measured is 0."""

    value_set: ValueSet = _ZERO


class One(gxe.ExpectColumnValuesToBeInSet):
    """Every value that was measured is 1."""

    value_set: ValueSet = _ONE


class Equal(gxe.ExpectColumnPairValuesToBeEqual):
    """Both are measured and equal."""

    ignore_row_if: RowCondition = "neither"
