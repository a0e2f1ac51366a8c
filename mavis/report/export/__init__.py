"""Files for other programs: CSV (`csv_files`), JSON, Markdown and LaTeX (`formats`)."""
