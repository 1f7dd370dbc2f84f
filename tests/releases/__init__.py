"""Releases planted on a hub of our own, sound ones and some with a deviation each, certified."""
