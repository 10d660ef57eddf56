"""What figures share: style, panels, words that fit."""
