-- KEYS[1] format  ARGV: 1 version, 2 fingerprint of the UAID key or ''
return misfit(KEYS[1], ARGV[1], ARGV[2]) or 0
