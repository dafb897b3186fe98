"""Watching a model that is in use: drift of what it is asked and answers, and training again.

| module | what it is for |
| --- | --- |
| `monitor.py`, `retrain.py` | the commands ``monitor`` and ``retrain`` |
| `features.py`, `bins.py`, `profile.py` | columns of inputs and answers, as counts of bins |
| `samples.py`, `new_inputs.py` | what a service has kept; rows of a file |
| `drift.py`, `performance.py` | how far a sample is from the training data; metrics of answers |
| `rules.py`, `verdict.py` | ``configs/monitor.yaml``, and what is past its limits |
| `models.py`, `page.py` | the watched model; the page about it |
"""
