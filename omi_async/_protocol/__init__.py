"""Pure calculation without I/O: requests from arguments, results from answers. No file here knows a resource."""
