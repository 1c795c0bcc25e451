"""Reads a whole dataset again and says precisely what is wrong: file, place in it, what was expected, what was found, what to do.

Three kinds of facts are held against each other: a file's content against what its own footer (or name) says, footers against what other
files say of them, and indexes against tars, member by member. So one damage gives one finding, at the file that has it.
"""
