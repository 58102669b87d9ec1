"""Jobs on images: create, amend, and snapshots of a whole machine."""
