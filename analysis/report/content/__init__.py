"""The content of the report, independent of its format."""
