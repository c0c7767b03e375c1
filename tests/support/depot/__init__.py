"""The parts of `deps.py`, each about one thing.

catalogue   what there is to fetch, and under which names
ubuntu      what Ubuntu has in place of it
tree        a folder under `.deps/` and how it comes about
launcher    the scripts in it that start its programs
debian, apt packages of Debian and Ubuntu, and where this machine gets them
maven, npm  jars and tarballs, by way of their own clients
venv        the Python packages of `requirements.txt`
manifest    what `.deps/manifest.json` says
download    files by address, verified, in the user's cache
files       places, stamps, locks
outcome     what could not be had, and how other programs are run

No registry has a default here: packages come from where this machine is set up to get them.
"""
