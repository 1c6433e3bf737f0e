# For whoever administers the app at HubSpot: sets the client id and client
# secret, and cannot read them back.

path "secret/data/hubspot-apps/hbdev" {
  capabilities = ["create", "update"]
}

# The number of the version to replace, which check-and-set asks for.
path "secret/metadata/hubspot-apps/hbdev" {
  capabilities = ["read"]
}
