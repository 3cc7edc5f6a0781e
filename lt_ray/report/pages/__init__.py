"""What a report looks like: a page, Markdown, pictures and CSV."""
