"""Evaluation: what is scored, by which protocol, and the report of it.

References: sections IV-B and IV-D of the paper; what goes beyond it is said where it is scored.
"""

from stemwise.evaluation.baselines import BASELINES, baseline
from stemwise.evaluation.candidate import Candidate, find_candidate
from stemwise.evaluation.choosing import PROTOCOLS, choose_protocol
from stemwise.evaluation.identification import normal_scores, pseudo_scores
from stemwise.evaluation.listeners import abx_scores
from stemwise.evaluation.report import about_run, evaluate
from stemwise.evaluation.separation import sdr_scores
from stemwise.evaluation.subject import Subject, subject_of

__all__ = [
    "BASELINES", "PROTOCOLS", "Candidate", "Subject", "about_run", "abx_scores", "baseline",
    "choose_protocol", "evaluate", "find_candidate", "normal_scores", "pseudo_scores", "sdr_scores",
    "subject_of",
]  # fmt: skip
