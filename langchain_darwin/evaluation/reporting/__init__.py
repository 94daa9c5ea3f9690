"""What people see of a comparison: report, tables, plots, files."""
