"""Update of a project: three-way merge of its pristine render, its files and a new render.

``record`` keeps what a project was made from, ``fingerprints`` the lines of its pristine files,
``trees`` reads files, and ``merge`` merges them with git's own machinery.
"""
