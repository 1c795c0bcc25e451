"""Opt-outs: what a site says of mining, in robots.txt, in TDMRep's file, and in the headers of an answer. The most restrictive word counts.

What a file says of itself (C2PA, IPTC/PLUS) is read by quality.evidence.
"""

from quality.optouts.headers import signals_of_headers
from quality.optouts.robots import AI_AGENTS, Robots
from quality.optouts.signals import ALLOWED, DISALLOWED, state_of, text_of
from quality.optouts.tdmrep import Reservations

__all__ = ["AI_AGENTS", "ALLOWED", "DISALLOWED", "Reservations", "Robots", "signals_of_headers", "state_of", "text_of"]
