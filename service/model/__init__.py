"""`edgecls model`: bundles made from files of elsewhere, checked, shown and packed."""
