"""Checking an image (qcow2_check_refcounts) and rebuilding its refcounts."""
