"""Pages and answers over HTTP, from this machine."""
