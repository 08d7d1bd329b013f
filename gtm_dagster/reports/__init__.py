"""Reports for people over the serving copy: text and HTML. Not here: how a figure is computed."""
