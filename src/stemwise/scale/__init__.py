"""The same work on many machines: Ray spreads it, Lance holds it. Needs ``stemwise[scale]``."""
