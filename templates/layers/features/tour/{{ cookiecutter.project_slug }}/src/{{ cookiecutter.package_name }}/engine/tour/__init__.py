"""``tour``: the steps of ``docs/onboarding.md`` in the terminal.

| module | what it is for |
| --- | --- |
| `document.py` | the steps of the document, with what is wrong in it by line |
| `checks.py` | runs the shell command that says whether a step is done |
| `progress.py` | which steps are done, by title |
| `display.py` | a step as text for a terminal of any width |
| `command.py` | the command |
"""
