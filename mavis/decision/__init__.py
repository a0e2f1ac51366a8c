"""Decision: from scores to a recommendation, or a refusal; codes and numbers, no sentences.

In this order: `gates` (conditions that a method must meet), `overall_score`, `leaderboard`, `comparison` (methods tied
with the leader), `refusals` (R1 to R12), `recommendation`. Sentences are made in `mavis.report.wording`.
Open `recommendation` first; docs/decision.md states the rule.
"""
