"""Core: everything that a plug-in may import; independent of runs, protocols and reports.

- `types`: `Batch` (images with labels, groups, parts), `Dataset`, `Model`, `Reference`.
- `traits`: properties that explainers, metrics, models and data sets declare when they are registered.
- `registry`: names to factories; loads the built-in plug-ins and entry points; `user_plugins` reads ``mavis.toml``.
- `model_pass`: `Pass`, one model on one batch: logits, gradients and activations, each computed once and counted.
- `metric_types`: one interface per kind of metric: maps, curves, probes, variants, cost.
- `attribution_maps`: raw attributions to maps, cells, orders and ranks.
- `perturbation`: imputers, feature groups, variants, weight randomisation.
- `guards`: explainers, metrics and imputers of others are handed copies.
- `seeding`, `hashing`, `devices`, `compute`, `errors`: random numbers per image, content hashes, devices, cost, errors.

Open `types` first, then `metric_types`.
"""
