"""`steer app`: a page on this machine where an edit is tried by hand, and believed.

state     what the user asked for, and its forms: JSON, link     (pure)
export    the same as a Python script and a command line         (pure)
view, cards, charts, takeaway   data -> HTML, everything escaped (pure)
studio    the model, the dictionaries on offer, streams
tokens, find, measure           what is computed for the views
handlers  an event -> new values; errors become sentences
api       named endpoints
app       components and wiring
"""

from apps.playground.start import launch

__all__ = ["launch"]
