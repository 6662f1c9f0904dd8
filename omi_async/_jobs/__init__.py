"""What a bulk job does: `items` decides what may be sent, `workers` sends it, `windows` says when it is worth it."""
