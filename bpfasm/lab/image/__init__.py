"""The file system that a guest starts from: archives of Python, tools, modules, the project; and its empty disk."""
