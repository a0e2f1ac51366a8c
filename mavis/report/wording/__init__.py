"""Wording: every sentence about a finding is made here, from codes and values; the same in every kind of report.

`answer` words the recommendation, `cross_checks` what stands beside it, `cues`, `gates`, `refusals` and `gaps` what
their names say, `missing` why a value is not there, `status` the standing of protocol and run, `notes` all other
statements; `phrases` joins names. Each of `gates`, `refusals`, `gaps` and `notes` has a table: code -> function of the
values.
"""

from mavis.report.wording.answer import (
    REFUSAL_CODES_DOC,
    answer_reasons,
    answer_sentence,
    group_lead_sentences,
    not_assessed_lines,
    recommendation_headline,
    scale_text,
    supporting_lines,
    weights_text,
)
from mavis.report.wording.cross_checks import across_models_lines, concordance_text
from mavis.report.wording.cues import cue_lines
from mavis.report.wording.gaps import gap_sentence, gap_statements, gap_verdict
from mavis.report.wording.gates import gate_reason, gate_status, gate_title
from mavis.report.wording.missing import group_missing_reason, missing_by_reason, missing_reason, skips_by_reason
from mavis.report.wording.notes import note_text
from mavis.report.wording.phrases import abbreviate, count_noun, metric_title
from mavis.report.wording.refusals import refusal_reason
from mavis.report.wording.status import is_custom_protocol, protocol_title, status_notices

__all__ = [
    "REFUSAL_CODES_DOC",
    "abbreviate",
    "across_models_lines",
    "answer_reasons",
    "answer_sentence",
    "concordance_text",
    "count_noun",
    "cue_lines",
    "gap_sentence",
    "gap_statements",
    "gap_verdict",
    "gate_reason",
    "gate_status",
    "gate_title",
    "group_lead_sentences",
    "group_missing_reason",
    "is_custom_protocol",
    "metric_title",
    "missing_by_reason",
    "missing_reason",
    "not_assessed_lines",
    "note_text",
    "protocol_title",
    "recommendation_headline",
    "refusal_reason",
    "scale_text",
    "skips_by_reason",
    "status_notices",
    "supporting_lines",
    "weights_text",
]
