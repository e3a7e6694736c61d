"""The report, as an HTML page, Markdown and PDF."""
