"""Measurements of models and dictionaries, edited and not."""
