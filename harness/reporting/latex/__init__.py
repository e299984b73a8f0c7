"""Tables for LaTeX that fit the page of `article`, in one column or two.

Neither pandas' Styler nor great_tables nor tabulate measures what it writes, splits columns or rows that do not fit, or
sets notes; none escapes all that records may hold, such as a bracket that begins a row.
"""
