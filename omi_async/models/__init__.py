"""The values that calls return: one file a resource, and what several resources share."""
