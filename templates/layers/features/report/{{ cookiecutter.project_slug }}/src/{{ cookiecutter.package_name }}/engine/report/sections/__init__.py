"""Sections of the page, each a module with ``make(evidence) -> Section | None``.

The order is that of ``SECTIONS`` in ``report_page``; a section that has nothing to say is left out.

| module | what it is for |
| --- | --- |
| `answer.py` | how good the model is, in a sentence |
| `data.py` | where the data comes from and how it was split |
| `curves.py` | figures of the split, and the course of training |
| `slices.py`, `mistakes.py` | parts of the split; answers that were wrong |
| `explanations.py` | why the model answered as it did |
| `cost.py`, `repeat.py` | what the model costs; how to repeat the run |
"""
