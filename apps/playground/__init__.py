"""`steer app`: a page on this machine where an edit is tried by hand, and believed.

| module                           | what                                                       |
|----------------------------------|------------------------------------------------------------|
| html                             | markup, charts, and the words that say what they mean      |
| state                            | what the user asked for, and its forms: JSON, link, groups |
| studio                           | the model, the dictionaries on offer, streams, the line    |
| find, steer, measure, take_away, | the tabs and the box for a word: what is computed, as      |
| towards                          | plain values, and their HTML, everything escaped           |
| handlers                         | a click -> new values; a mistake becomes a sentence        |
| api, tools                       | named endpoints; the same as tools of MCP                  |
| panes, page, wire                | components by place; which handler each event calls; runs  |
| theme, server, start             | the look; the server and its doors; starting it            |
"""

from apps.playground.start import launch

__all__ = ["launch"]
