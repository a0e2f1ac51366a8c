"""HTML report: one page with its figures.

`page` fills the templates, `figures` and `plots` draw, `images` and `gallery` show maps on their images.
"""
