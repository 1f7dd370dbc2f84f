"""`steer app`: a page on this machine where an edit is tried by hand, and believed.

| module                          | what                                                        |
|---------------------------------|-------------------------------------------------------------|
| state, export, examples         | what the user asked for, and its forms: JSON, link, script  |
| view, cards, charts, takeaway   | data in, HTML out, everything escaped                       |
| studio                          | the model, the dictionaries on offer, streams               |
| tokens, find, measure, controls | what is computed for the views; results are plain values    |
| handlers, looking               | a click -> new values; a mistake becomes a sentence         |
| api                             | named endpoints                                             |
| app, start                      | components and wiring; the server                           |
"""

from apps.playground.start import launch

__all__ = ["launch"]
