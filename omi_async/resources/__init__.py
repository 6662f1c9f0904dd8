"""The calls: one file a resource, with the requests it builds and the class that makes them."""
