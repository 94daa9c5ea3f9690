"""Reports of a comparison, for people and for other programs.

Read `report.py` first: records become numbers there. `tables.py` and `plot.py` show them, and `report_files.py`
writes them. `answer_files.py` writes the answers for other benchmarks' judges.
"""
