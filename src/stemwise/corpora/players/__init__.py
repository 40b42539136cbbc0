"""The five players of a composed band: each draws a style of its own and plays the outline."""
