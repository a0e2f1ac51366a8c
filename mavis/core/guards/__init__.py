"""Guards of plug-ins that are not MAVIS's own: each is called in `core.foreign_code` and is handed copies.

Open `guarded_plugins` first: explainers and metrics. `guarded_imputers` and `guarded_variants` are the rest.
"""
