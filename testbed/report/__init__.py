"""A judgement as text, SVG and HTML, and connections as a table: values in, text out."""
