"""Reports: figures, tables and HTML pages of results."""
