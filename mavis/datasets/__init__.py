"""Data sets: a file directly in this folder is a plug-in; the registry finds it.

A data set is a table of labels and group labels, a way to load images by id, its mean colour and a content hash
(`mavis.core.types.Dataset`). `loading` opens one by name, reads image files and draws the sample of a run;
`synthetic` draws the embedded faces. Open `fairface` for a loader of image files, `synthetic_faces` for the drawn ones.
"""
