"""Disparity: gaps between groups, and whether they are found, absent or neither.

`matching` finds comparable images, `estimators` has the raw, matched and adjusted gap and the permutation null,
`pairwise` compares every two groups, `hypothesis_tests` has the equivalence and superiority tests, `gaps` puts them
together. Open `gaps` first.
"""
