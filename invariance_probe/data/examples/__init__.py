"""Labelled examples to train and test on."""
