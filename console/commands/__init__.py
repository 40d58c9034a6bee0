"""The work behind each command; imported when it is run, so that ``--help`` stays fast."""
