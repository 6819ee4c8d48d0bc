"""Written by scripts/gen_proto.sh from proto/; edit those files, not these."""
