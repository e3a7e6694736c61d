"""Commands that read or generate images outside a sweep."""
