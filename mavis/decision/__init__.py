"""Decision: from scores to a recommendation, or a refusal; codes and numbers, no sentences.

One direction: `gates` (is a method sound?) -> `overall_score` -> `leaderboard` -> `comparison` (who is tied with the
leader?) -> `refusals` (R1 to R12) -> `recommendation`. Sentences are made in `mavis.report.wording`.
Open `recommendation` first; docs/decision.md states the rule.
"""
