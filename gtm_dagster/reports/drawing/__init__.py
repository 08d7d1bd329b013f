"""Figures as pictures: a small SVG, a PNG, an SVG of a page. Not here: what a figure shows (warehouse/figures)."""
