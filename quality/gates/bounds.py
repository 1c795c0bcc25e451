"""Rules with a bound: volume, ranges, funnel, licence mix, failure rates, drift against the parent. Each bound is a constant with its reason.

What can only be damage is critical. What a change of policy or source can do too is a warning. Your own bounds: quality/gates/__init__.py.
"""

from typing import Final

import great_expectations.expectations as gxe
from great_expectations.expectations.metadata_types import FailureSeverity

from quality.gates.suite import Stop, ValueSet, Warn, Zero

HALF: Final = 0.5
TENTH: Final = 0.1
FALL: Final = 0.2  # of a share, in points: twice what a week of link rot or one more bound of a packaged policy does to our samples
FAILED_BY_AGE: Final = 0.6  # of published lists 42 to 97 % of the links are alive, by age (DataComp, LAION): more failures are not age
FAILED_ALL: Final = 0.95  # a unit of which so much failed was not fetched: its network, its host or its list is down
UNITS_ALIVE: Final = 0.75  # of the new units, so many must have come: hosts die one by one, a network dies at once
OF_ALL_FAILURES: Final = 0.9  # from one host: nine in ten have one cause, and somebody can mend it
# Of a modified z-score 3.5 is usual (Iglewicz and Hoaglin 1993, NIST/SEMATECH e-Handbook 1.3.5.17), for draws from one population. Units are
# none: a unit is a stretch of a list, often one host or one topic. So only what lies at more than twice that is told.
OUTLIER: Final = 8.0
PSI: Final = 0.25  # a major change: Siddiqi (2006), see quality/gates/drift.py
MISSING_SOME: Final = 0.05  # of measures: pictures that one scorer cannot take while others can are fewer than one in twenty
ONE_REASON: Final = 0.9  # of fetched pairs: the strictest published recipe (DataComp, CLIP score 30 %) refuses 70 % for one reason
ONE_CAPTION: Final = 0.2  # of a shard's captions; the policies' rule on repeats drops a caption long before that
_THERE: ValueSet = ["there"]


# ---- volume


class SomethingIsKept(Stop):
    column: str = "keep"
    min_value: int = 1


class KeepIsAtLeastHalfOfTheParents(Warn):
    column: str = "keep_ratio"
    min_value: float = HALF


class KeepIsAtLeastATenthOfTheParents(Warn):
    """By itself a warning: a commercial policy may keep a tenth of what a research policy does. With the same policy see the next one."""

    column: str = "keep_ratio"
    min_value: float = TENTH


class TheSamePolicyKeepsAtLeastHalfOfTheParentsPairsInTheSameUnits(Stop):
    """The pool only grows and the policy is the same: such a fall is a damaged score, list or file."""

    column: str = "common_keep_ratio"
    min_value: float = HALF


class UnitsOfTheParentAreStillThere(Zero):
    column: str = "lost_units"


class FewRowsAreDeferred(Warn):
    column: str = "deferred_share"
    max_value: float = TENTH


# ---- ranges


class ScoresAreNumbers(Zero):
    """Neither NaN nor infinite; null is not measured, and allowed."""

    column: str = "not_finite"


class ScoresLieInTheirDeclaredRange(Zero):
    column: str = "out_of_range"


class ScoresThatDecideAreNotAllEqual(Warn):
    column: str = "one_value"
    max_value: int = 0


class CaptionsAreNotAllTheSame(Stop):
    column: str = "caption_share"
    max_value: float = OF_ALL_FAILURES


class NoCaptionIsEverywhere(Warn):
    column: str = "caption_share"
    max_value: float = ONE_CAPTION


# ---- funnel


class NoReasonTakesAlmostAllPairs(Warn):
    column: str = "share"
    max_value: float = ONE_REASON


class FewPairsLackAMeasure(Warn):
    column: str = "missing_share"
    max_value: float = MISSING_SOME


class MostPairsAreMeasured(Stop):
    column: str = "missing_share"
    max_value: float = HALF


class NoUnitDropsUnlikeTheOthers(Warn):
    column: str = "drop_deviation"
    min_value: float = -OUTLIER
    max_value: float = OUTLIER


class KeptShareStaysNearTheParents(Warn):
    column: str = "kept_share_fall"
    min_value: float = -FALL
    max_value: float = FALL


# ---- failure rates


class MostNewUnitsAreFetched(Stop):
    """Names the units that were not, when they are more than the odd one."""

    column: str = "failed_share_new"
    max_value: float = FAILED_ALL
    mostly: float = UNITS_ALIVE


class EveryUnitIsFetched(Warn):
    column: str = "failed_share"
    max_value: float = FAILED_ALL


class FailuresAreThoseOfAge(Warn):
    column: str = "failed_share"
    max_value: float = FAILED_BY_AGE


class SomethingIsFetched(Stop):
    column: str = "failed_share"
    max_value: float = FAILED_ALL


class FailuresStayNearTheParents(Warn):
    column: str = "failed_share_rise"
    max_value: float = FALL


class NoUnitFailsUnlikeTheOthers(Warn):
    column: str = "failed_deviation"
    max_value: float = OUTLIER


class NoHostGivesMostFailures(Warn):
    column: str = "share_of_failures"
    max_value: float = OF_ALL_FAILURES


# ---- licence mix


class LegalRulesHoldForEverySample(Zero):
    """The policy's rules that nobody may overrule, judged again on what is in the shards."""

    column: str = "broken"


class LicenceMixStaysNearTheParents(Warn):
    column: str = "share_change"
    max_value: float = FALL


# ---- drift against the parent


class TheSamePolicyGivesTheParentsColumns(gxe.ExpectColumnValuesToBeInSet):
    column: str = "state_same_policy"
    value_set: ValueSet = _THERE


class ColumnsOfTheParentAreThere(gxe.ExpectColumnValuesToBeInSet):
    """By itself a warning: another policy may read the scores of another model."""

    column: str = "state"
    value_set: ValueSet = _THERE
    severity: FailureSeverity = FailureSeverity.WARNING


class ScoresLookLikeTheParents(Warn):
    column: str = "psi_beyond_chance"
    max_value: float = PSI
