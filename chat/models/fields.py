AUTHOR_LENGTH = 128
"""Characters of who somebody is: the longest is "name:" and a name's key, which may be three times the name."""
