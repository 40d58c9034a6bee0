"""One file for each revision, oldest first; never changed once released."""
