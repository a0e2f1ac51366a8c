"""Model checks: measured once per model, before any map is made.

- `imputer_reliability`: does the model keep its prediction when random cells are removed?
- `part_reliance`: which face parts does it use? Localisation is scored against these.
- `training_leakage`: were evaluated images trained on?
"""
