"""Recorded episodes in the formats of others, and theirs as our demonstrations."""
