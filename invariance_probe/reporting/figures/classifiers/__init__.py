"""Figures of trained classifiers."""
