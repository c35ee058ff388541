"""What recorded bags tell: rows, figures and pages; no graph and no log is needed."""
