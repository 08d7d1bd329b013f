"""Numbers in, the text of an SVG out: lines, bars with intervals, cells, funnels. Pure functions; colours are the page's.

Every picture has a title and a description, labels beside its marks and a dash pattern beside each colour. Not here:
where the numbers come from.
"""
