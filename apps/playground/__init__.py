"""`steer app`: a page on this machine where an edit is tried by hand, and believed.

| module                             | what                                                     |
|------------------------------------|----------------------------------------------------------|
| state, desk, form, export          | what the user asked for, and its forms: JSON, link, …    |
| examples                           | states worth a click                                     |
| studio                             | the model, the dictionaries on offer, streams            |
| turns, steering                    | the line at the model; a run as what is drawn of it      |
| find, contrast, ablation           | what is computed for Find; results are plain values      |
| tokens, measure, controls, results | what is computed for Steer and Measure                   |
| view, edits_view, find_view,       | data in, HTML out, everything escaped                    |
| measure_view, takeaway, charts,    |                                                          |
| markup                             |                                                          |
| handlers, looking                  | a click -> new values; a mistake becomes a sentence      |
| api                                | named endpoints                                          |
| app, theme, start                  | components and wiring; the look; the server              |
"""

from apps.playground.start import launch

__all__ = ["launch"]
