"""Files for browsers, converted and run in Node."""
