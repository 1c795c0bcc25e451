"""Column functions: vectorised functions of stored raw columns, computed in select and stored nowhere else."""

from collections.abc import Sequence
from typing import Final, Protocol

import pyarrow as pa

from quality.columns.caption import Caption
from quality.columns.language import Language
from quality.columns.license import License
from quality.columns.nsfw_words import NsfwWords
from quality.columns.personal_data import PersonalData


class ColumnFunction(Protocol):
    """name: prefix of its columns. version: changes whenever a value could. needs: raw columns. fields: full names ("license.spdx")."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def needs(self) -> tuple[str, ...]: ...
    @property
    def fields(self) -> pa.Schema: ...

    def compute(self, table: pa.Table, fields: Sequence[str] | None = None) -> pa.Table:
        """Row i belongs to row i of `table`, which has the columns `needs`; only the columns `fields` (full names; None: all)."""


COLUMN_FUNCTIONS: Final[dict[str, ColumnFunction]] = {
    function.name: function for function in (License(), Caption(), PersonalData(), NsfwWords(), Language())
}
