"""Helpers of the command line: how it reads, speaks, shows tables, writes files and ends."""
