"""`turnback simulate`: what the real judge does over many drawn experiments."""
