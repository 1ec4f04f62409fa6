"""Where names stand now that pickles written before 0.1.0 hold, by the module they stood in.

It stays for one release: it goes with 0.2.0, and with it the call of `moved_names`.
"""

MOVED = {
    "_frames.Place": "._user_frames:SourcePlace",
}
