"""Pieces of self-contained HTML pages: markup, plots as inline SVG, tables, the page around them.

Owns how things look and that no text becomes markup. What a page says belongs to whoever makes it:
`labelmill.client.bench.page` for benchmarks. Standard library only.
"""
