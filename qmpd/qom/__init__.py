"""QEMU's object model: types, the tree of objects, paths and properties."""
