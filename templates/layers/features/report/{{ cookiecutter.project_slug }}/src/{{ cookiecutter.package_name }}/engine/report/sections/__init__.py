"""Sections of the page, each a module with ``make(evidence) -> Section | None``.

The order is that of ``SECTIONS`` in ``report_page``; a section that has nothing to say is left out.
"""
