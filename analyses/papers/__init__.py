"""Figures and tables of the experiments of papers, for the scripts beside this folder."""
