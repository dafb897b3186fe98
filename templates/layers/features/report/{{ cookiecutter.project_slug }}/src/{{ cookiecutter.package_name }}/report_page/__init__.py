"""The page of evidence is yours to edit: the order of its sections, and its template.

To add a section, write ``make(evidence) -> Section`` in a module and add a line here; the sections
in ``engine/report/sections`` show how. ``page.html`` holds the layout, the styles and the script.
"""

from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).with_name("page.html")

SECTIONS: dict[str, Any] = {
    "answer": "engine.report.sections.answer:make",
    "data": "engine.report.sections.data:make",
    "curves": "engine.report.sections.curves:make",
    "slices": "engine.report.sections.slices:make",
    "mistakes": "engine.report.sections.mistakes:make",
    "explanations": "engine.report.sections.explanations:make",
    "cost": "engine.report.sections.cost:make",
    "repeat": "engine.report.sections.repeat:make",
}
