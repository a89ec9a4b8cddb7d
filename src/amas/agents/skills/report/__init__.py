"""The report on a code base: parts' results gathered into one model, then rendered as Markdown and as one HTML file."""
