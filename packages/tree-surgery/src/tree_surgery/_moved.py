"""Where names stand now that pickles written before 0.1.0 hold, by the module they stood in.

It stays for one release: it goes with 0.2.0, and with it the call of `moved_names`.
"""

MOVED = {
    "_selector.Both": "._select.selectors:IntersectionSelector",
    "_selector.Either": "._select.selectors:UnionSelector",
    "_selector.Leaf": "._select.selectors:LeafSelector",
    "_selector.Not": "._select.selectors:ComplementSelector",
    "_selector.Path": "._select.selectors:PathSelector",
    "_selector.Type": "._select.selectors:TypeSelector",
    "_where.Where": "._select.where:Where",
}
