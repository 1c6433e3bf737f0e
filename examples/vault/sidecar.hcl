# The sidecar's own policy, for the HubSpot app "hbdev". It assumes the
# settings "mount secret" and "path hubspot"; README.md says how to change
# the names.

# The id key of the app: made once, never changed.
path "secret/data/hubspot/apps/hbdev/key" {
  capabilities = ["create", "read"]
}

# The connections: one record per customer, with the tokens; and the ledger,
# which says who holds which grant.
path "secret/data/hubspot/connections/hbdev/*" {
  capabilities = ["create", "read", "update"]
}

# Listing connections, and finding the old versions of one.
path "secret/metadata/hubspot/connections/hbdev/*" {
  capabilities = ["list", "read"]
}

# Erasing old versions when a customer disconnects.
path "secret/destroy/hubspot/connections/hbdev/*" {
  capabilities = ["update"]
}

# What is ordered for all sidecars, such as the list of freezes.
path "secret/data/hubspot/control/*" {
  capabilities = ["create", "read", "update"]
}

# The app's client id and client secret, for
# "credentials vault secret/hubspot-apps/hbdev".
path "secret/data/hubspot-apps/hbdev" {
  capabilities = ["read"]
}

# Asking what this login may do, for /hubspot/ready and before an install.
# Vault's policy "default" allows it as well.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
