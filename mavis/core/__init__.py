"""Core: what a plug-in may import; it knows nothing of runs, protocols or reports.

- `types`: `Batch` (images with labels, groups, parts), `Dataset`, `Model`, `Reference`.
- `traits`: what an explainer, a metric, a model or a data set declares when it is registered.
- `registry`: names to factories; loads the built-in plug-ins and entry points; `user_plugins` reads ``mavis.toml``.
- `model_pass`: `Pass`, one model on one batch: logits, gradients and activations, each computed once and counted.
- `metric_types`: the kinds of metric, by what they ask of the model and what work they share.
- `attribution_maps`: raw attributions to maps, cells, orders and ranks.
- `perturbation`: imputers, feature groups, variants, weight randomisation.
- `seeding`, `hashing`, `devices`, `compute`, `errors`: random numbers per image, content hashes, devices, cost, errors.

Open `types` first, then `metric_types`.
"""
