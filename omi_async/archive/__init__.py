"""An archive of conversations: one file, which `save_to` fills, and to which `keep` adds before a deletion.

store      the file: what is held, and when it was seen
documents  a conversation as the server gave it
pull       `save_to`: what is new or has changed, at the pace of the server's windows
keep       a copy before a deletion
recreate   a conversation made anew of a kept one
"""

from .store import Archive

__all__ = ["Archive"]
