"""A splitter that cuts Markdown documents at their headings."""
