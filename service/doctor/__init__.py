"""`edgecls doctor`: what this device has and lacks, one file for each subject, each finding with its remedy."""
