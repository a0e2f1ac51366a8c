"""Statistics: functions of arrays; nothing here knows of images or models.

`bootstrap` and `permutation` resample, `multiple_testing` corrects (Holm, Benjamini-Hochberg), `ranking` compares
methods over metrics or models (Borda, SMAA, Friedman, Nemenyi), `dispersion` measures inequality between groups,
`inter_rater` agreement between raters (Krippendorff, ICC).
"""
