"""Synthetic faces: drawings whose parts, labels and cues are known, so that truth can be planted.

`recipe` composes a population, `parameters` draws one face's shape and colours, `drawing` paints it on a `canvas`,
`features` are its single parts, `parts` records which pixel belongs to which part. `streams` are the seeded random
numbers. Open `drawing` first.
"""
