"""Planning: everything that is decided before the first map is made.

A *cell* is model × data × explainer × metric with all parameters; a *block* is up to 32 images of one model with all of
its cells. `request` is what the user asked for, `setup` opens models and data, `plan` lays out cells and blocks,
`compatibility` tries each explainer on the model, `cost_estimate` counts forwards and backwards. Open `plan` first.
"""
