"""Widgets: parts of a screen, each shows one part of a `SearchView`."""
