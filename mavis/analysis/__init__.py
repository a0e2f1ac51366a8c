"""Analysis: stored scores to statistics; pure functions of tables, tested without a model.

- `findings`: the typed document that reports show and ``leaderboard.json`` holds.
- `groups`: means per group and their bootstrap; `skill_scores`: normalised scores.
- `disparity`: gaps between groups; `statistics`: bootstrap, permutation, ranks, multiple testing.
- `model_validity`, `map_agreement`, `cue_detection`, `regression`: checks that a report shows beside the leaderboard.

Open `findings` first.
"""
