"""Likeness by common words, in the place of the real server's language models."""

import re


def likeness(question: str, text: str) -> float:
    """Return the share of the words of *question* that *text* has, from 0 to 1."""
    asked = _words(question)
    return len(asked & _words(text)) / len(asked) if asked else 0.0


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
