"""Read-only web pages over the serving copy and the ops store (`gtm dash`): HTML and SVG made on the server, no script.

A screen is a module of `screens/`, a template of `templates/` and a file of `sql/` for each of its charts. `snapshots` opens
the serving copy, `parameters` reads the URL, `chart_query` joins both to a panel, `charts/` draws, `web_app` answers. Not
here: how a figure is computed (warehouse), and anything that writes.
"""
