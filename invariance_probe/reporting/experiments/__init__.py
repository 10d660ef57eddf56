"""Figures and tables of the experiments of papers."""
