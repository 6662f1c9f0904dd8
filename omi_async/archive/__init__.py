"""An archive of conversations: one file, which `save_to` fills, and to which `keep` adds before a deletion.

store      the file: what is held, and when it was seen
rows       how conversations are written to it and read
documents  a conversation as the server gave it
pull       `save_to`: what is new or has changed, at the pace of the server's windows
keep       a copy before a deletion
recreate   a conversation made anew of a kept one
search     conversations by their words
status     how much is there, and what is not
export     files of all conversations
markdown   a conversation as a note, and the name of its file
view       what people read of a document
"""

from .store import Archive

__all__ = ["Archive"]
