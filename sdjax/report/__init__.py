"""What was found, as figures and one page."""
