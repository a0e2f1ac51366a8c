"""Engine: from a request to stored scores.

`planning` lays out cells and blocks and counts their cost; `model_checks` measures the model before any map is made;
`execution` turns a block into scores; `store` is the run directory, the only place that is written to. `sample` draws
the images, `removal` removes parts of images and asks the model, `removal_units` says which pixels go together,
`attainable_gain` searches for the best order, `provenance` says what the numbers belong to.
Open `planning.plan` first, then `execution.block`.
"""
