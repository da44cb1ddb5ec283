"""Studies: many small runs that together answer one question."""
