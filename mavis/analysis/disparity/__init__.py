"""Disparity: gaps between groups, tested for significance and for equivalence.

`matching` finds comparable images, `estimators` has the raw, matched and adjusted gap, `pairwise` compares every two
groups, `hypothesis_tests` has the tests of equivalence and of gaps beyond a margin, `statements` names the claim that
they support, `gaps` puts them together. Open `gaps` first.
"""
