"""Deepfake risk from evidence: three scores, a band, and what each rests on. Evidence, not an oracle."""

from quality.deepfake.arithmetic import BANDS, Case, Judged, judge
from quality.deepfake.names import NamesError, PersonNames, names_digest
from quality.deepfake.probe import Probe, ProbeError, read_probe

__all__ = ["BANDS", "Case", "Judged", "NamesError", "PersonNames", "Probe", "ProbeError", "judge", "names_digest", "read_probe"]
