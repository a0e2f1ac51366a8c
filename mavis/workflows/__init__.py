"""Workflows: each from a request to its result.

- `run`: ``mavis run``; `evaluate`: the same for a notebook; `summarise`: a run directory to findings.
- `sensitivity`: the run repeated under other settings of the metrics.
- `meta_evaluation`: the metrics tested on models and maps whose truth is known.

Open `run` first.
"""
