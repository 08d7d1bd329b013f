"""One module a screen, each with a SCREEN; `screen.screens` finds them by listing the package."""
