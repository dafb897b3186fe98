"""Trained models as Hugging Face's libraries read them.

| module | what it is for |
| --- | --- |
| `formats.py` | the formats of ``export`` |
| `huggingface.py`, `adapter.py` | a folder of each format |
| `families.py` | weights and ``config.json`` in Hugging Face's form |
| `check.py`, `reload.py` | the written folder, loaded by another library |
| `readme.py` | the README of an exported model |
"""
