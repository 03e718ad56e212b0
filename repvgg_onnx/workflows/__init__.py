"""One request in, one result out."""
