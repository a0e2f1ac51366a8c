"""Explainers: attribution methods, one file per family; a file directly in this folder is a plug-in.

A factory with parameters returns a callable ``(Pass, targets) -> (B,1 or 3,H,W)``, raw and signed. Families:
`gradient`, `path_integrals`, `modified_backprop`, `lrp`, `cam`, `attention`, `perturbation`, `shapley`; `controls` do
not use the model, `oracles` use the planted truth. `external` wraps explainers of other libraries.
Open `gradient` first.
"""
