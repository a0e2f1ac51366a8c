"""Metrics: one file per family; a file directly in this folder is a plug-in.

A factory with parameters returns one of the kinds of `mavis.core.metric_types`; a score is one number per image.
Families: `faithfulness_removal` (deletion, insertion, ROAD, SRG), `faithfulness_correlation`, `faithfulness_fading`,
`localisation`, `robustness`, `randomisation`, `complexity`, `axiomatic`, `map_validity`, `cost`, and `quantus`, every
metric of Quantus. Open `complexity` first, then `faithfulness_removal`.
"""
