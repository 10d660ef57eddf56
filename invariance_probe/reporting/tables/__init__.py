"""Tables for papers and pages."""
