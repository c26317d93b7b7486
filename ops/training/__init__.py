"""Training of codecs' networks: a plain loop over photographs, which resumes to the same bits."""
