"""What a stored result is worth: trust, hashes, and measuring it anew."""
