"""Trained models in the formats of other programs, and smaller ones trained from them.

| module | what it is for |
| --- | --- |
| `command.py`, `write.py` | ``export``; the folder that it writes |
| `formats.py` | the formats, and what each of them can hold |
| `source.py`, `layers.py` | the network that is converted, in operations that all formats have |
| `litert.py`, `onnx_file.py`, `savedmodel.py`, `keras_file.py` | a file of each format |
| `check.py` | the exported model beside the one that was trained |
| `readme.py` | the README of an exported model |
| `compress.py`, `pruning.py`, `distillation.py` | smaller models, trained from a run |
| `compatibility.py` | whether one network can learn from another |
"""
