"""Evidence for a run: the report, the model card, and the gate of the registry.

| module | what it is for |
| --- | --- |
| `evidence.py` | the figures that page, card and gate have in common |
| `write.py`, `page.py`, `sections/`, `html.py` | the page, its sections and their parts |
| `card.py`, `markdown.py` | the model card |
| `slices.py`, `label_noise.py`, `cost.py` | parts of a split, doubtful labels, costs |
| `comparison.py`, `inspection_page.py`, `folder_page.py` | the pages of other commands |
| `promote.py`, `gate.py`, `rules.py` | ``promote``, and the rules that a champion must pass |
"""
