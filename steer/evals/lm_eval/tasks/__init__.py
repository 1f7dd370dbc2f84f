"""Small evaluation tasks as local data: no hub is needed.

`make.py` writes the documents, `documents.py` reads them for lm-eval, a YAML each is the task.
"""
