# For people who look after the store: they see which records there are and
# how old they are, and may purge one for good. They cannot read or change a
# record, nor bring back a deleted one.
#
# Do not add "delete" on data/ or anything on delete/ and undelete/: a record
# deleted that way comes back with the next refresh that was in flight.
# Disconnect customers through the sidecar; purge records afterwards.

path "secret/metadata/hubspot/connections/hbdev/*" {
  capabilities = ["list", "read", "delete"]
}

# Which version the orders for all sidecars have, and since when.
path "secret/metadata/hubspot/control/*" {
  capabilities = ["read"]
}

# The names of a record's fields, without their values.
path "secret/subkeys/hubspot/connections/hbdev/*" {
  capabilities = ["read"]
}
