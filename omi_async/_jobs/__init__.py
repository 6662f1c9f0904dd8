"""What a bulk job does: `items` decides what may be sent, and `workers` sends it."""
