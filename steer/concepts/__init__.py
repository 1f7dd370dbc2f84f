"""From a word to an edit that can be seen: `steer.concept`.

`answers` and `examples` say what the concept is, `reading`, `candidates` and `fitted` which
features may write about it, `judge` and `trials` whether a text is about it, `dose` chooses,
`verdict` decides on prompts that had no part in the choice; `search` is the order of these.
"""
