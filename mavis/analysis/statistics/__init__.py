"""Statistics: functions of arrays, independent of images and models.

`bootstrap` and `permutation` resample, `multiple_testing` corrects p-values (Holm, Benjamini-Hochberg), `ranking`
compares methods over metrics or models (Borda, SMAA, Friedman, Nemenyi), `dispersion` measures inequality between
groups, `inter_rater` agreement between raters (Krippendorff, ICC).
"""
