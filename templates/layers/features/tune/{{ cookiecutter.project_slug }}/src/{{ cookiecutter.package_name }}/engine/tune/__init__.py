"""Search for better settings.

| module | what it is for |
| --- | --- |
| `command.py`, `worker.py` | ``tune``; one trial after the other |
| `space.py` | ``configs/search.yaml``: what is searched |
| `study.py`, `trial.py` | a study that several processes work on; one of its trials |
| `results.py`, `parent_run.py` | what the study came to, on disk and in MLflow |
"""
