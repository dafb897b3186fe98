"""A look at a user's data before anything is trained on it.

| module | what it is for |
| --- | --- |
| `command.py` | ``inspect`` |
| `columns.py` | statistics that tell the columns of a table apart |
"""
