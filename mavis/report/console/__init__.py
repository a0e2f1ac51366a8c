"""Console report: what ``mavis run`` prints.

`summary` puts it together, `leaderboard` and `groups` are its tables, `terminal` is the one place that prints.
"""
