package vaultstore_test

import (
	"net/http"
	"testing"
)

// TestPolicies asks Vault, with the shipped policies, for everything that
// they are there to allow and to refuse.
func TestPolicies(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	s := open(t, c)
	r, other := record("acme"), record("acme")
	other.App = "other"
	mustSave(t, s, r, 0)
	mustSave(t, s, other, 0)
	path, foreign := recordPath(t, s, r.Key), recordPath(t, s, other.Key)
	if _, err := s.SaveDocument(t.Context(), "freezes", "text", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SaveSheet(t.Context(), app, "board", "text", 0); err != nil {
		t.Fatal(err)
	}
	put(t, v, c.Mount+"/data/hubspot-apps/hbdev", map[string]any{"client_id": "id", "client_secret": "s"}, 0)
	put(t, v, c.Mount+"/data/hubspot-apps/other", map[string]any{"client_id": "id", "client_secret": "s"}, 0)

	tokens := make(map[string]string)
	for _, name := range []string{"sidecar", "operator", "app-owner"} {
		policy := v.Policy(t, name+".hcl", c.Mount, app)
		tokens[name] = v.Token(t, map[string]any{"policies": policy})
	}
	// A write that is allowed and based on the wrong version gets 400.
	write := map[string]any{"data": map[string]any{"a": "b"}, "options": map[string]any{"cas": 99}}
	first := map[string]any{"versions": []int{1}}
	const (
		list = "LIST"
		get  = http.MethodGet
		post = http.MethodPost
		del  = http.MethodDelete
	)
	shards := "hubspot/connections/hbdev/"
	for _, tc := range []struct {
		who, method, path string
		body              any
		want              int
	}{
		{"sidecar", get, "data/" + path, nil, 200},
		{"sidecar", post, "data/" + path, write, 400},
		{"sidecar", del, "data/" + path, nil, 403},
		{"sidecar", post, "delete/" + path, first, 403},
		{"sidecar", post, "undelete/" + path, first, 403},
		{"sidecar", list, "metadata/" + shards, nil, 200},
		{"sidecar", list, "metadata/" + shards + path[len(shards):][:2], nil, 200},
		{"sidecar", get, "metadata/" + path, nil, 200},
		{"sidecar", post, "metadata/" + path, map[string]any{"max_versions": 9}, 403},
		{"sidecar", del, "metadata/" + path, nil, 403},
		{"sidecar", get, "data/" + shards + "ledger/board", nil, 200},
		{"sidecar", post, "data/" + shards + "ledger/board", write, 400},
		{"sidecar", get, "data/hubspot/connections/other/ledger/board", nil, 403},
		{"sidecar", get, "data/" + foreign, nil, 403},
		{"sidecar", post, "data/" + foreign, write, 403},
		{"sidecar", post, "destroy/" + foreign, first, 403},
		{"sidecar", list, "metadata/hubspot/connections/other/", nil, 403},
		{"sidecar", list, "metadata/hubspot/connections/", nil, 403},
		{"sidecar", get, "data/hubspot/apps/hbdev/key", nil, 200},
		{"sidecar", post, "data/hubspot/apps/hbdev/key", write, 403},
		{"sidecar", del, "data/hubspot/apps/hbdev/key", nil, 403},
		{"sidecar", get, "data/hubspot/apps/other/key", nil, 403},
		{"sidecar", get, "data/hubspot-apps/hbdev", nil, 200},
		{"sidecar", post, "data/hubspot-apps/hbdev", write, 403},
		{"sidecar", get, "data/hubspot-apps/other", nil, 403},
		{"sidecar", get, "config", nil, 403},
		{"sidecar", get, "data/hubspot/control/freezes", nil, 200},
		{"sidecar", post, "data/hubspot/control/freezes", write, 400},
		{"sidecar", del, "data/hubspot/control/freezes", nil, 403},
		{"sidecar", post, "delete/hubspot/control/freezes", first, 403},
		{"sidecar", post, "destroy/hubspot/control/freezes", first, 403},
		{"sidecar", del, "metadata/hubspot/control/freezes", nil, 403},
		{"sidecar", post, "destroy/" + path, map[string]any{"versions": []int{98}}, 204},

		{"operator", list, "metadata/" + shards, nil, 200},
		{"operator", get, "metadata/" + path, nil, 200},
		{"operator", get, "subkeys/" + path, nil, 200},
		{"operator", get, "data/" + path, nil, 403},
		{"operator", get, "data/" + shards + "ledger/board", nil, 403},
		{"operator", post, "data/" + path, write, 403},
		{"operator", del, "data/" + path, nil, 403},
		{"operator", post, "delete/" + path, first, 403},
		{"operator", post, "undelete/" + path, first, 403},
		{"operator", post, "destroy/" + path, first, 403},
		{"operator", post, "metadata/" + path, map[string]any{"max_versions": 9}, 403},
		{"operator", get, "metadata/" + foreign, nil, 403},
		{"operator", get, "data/hubspot/apps/hbdev/key", nil, 403},
		{"operator", get, "data/hubspot-apps/hbdev", nil, 403},
		{"operator", get, "metadata/hubspot/control/freezes", nil, 200},
		{"operator", get, "data/hubspot/control/freezes", nil, 403},
		{"operator", post, "data/hubspot/control/freezes", write, 403},
		{"operator", del, "data/hubspot/control/freezes", nil, 403},
		{"operator", del, "metadata/hubspot/control/freezes", nil, 403},

		{"app-owner", post, "data/hubspot-apps/hbdev", write, 400},
		{"app-owner", post, "data/hubspot-apps/hbdev", map[string]any{
			"data": map[string]any{"client_id": "id", "client_secret": "new"}, "options": map[string]any{"cas": 1},
		}, 200},
		{"app-owner", get, "metadata/hubspot-apps/hbdev", nil, 200},
		{"app-owner", get, "data/hubspot-apps/hbdev", nil, 403},
		{"app-owner", del, "data/hubspot-apps/hbdev", nil, 403},
		{"app-owner", post, "data/hubspot-apps/other", write, 403},
		{"app-owner", get, "data/" + path, nil, 403},
		{"app-owner", get, "metadata/" + path, nil, 403},
		{"app-owner", get, "data/hubspot/apps/hbdev/key", nil, 403},
		{"app-owner", get, "data/hubspot/control/freezes", nil, 403},
		{"app-owner", post, "data/hubspot/control/freezes", write, 403},

		// Last, because it is gone then.
		{"operator", del, "metadata/" + path, nil, 204},
	} {
		if got := status(t, v, tokens[tc.who], tc.method, c.Mount+"/"+tc.path, tc.body); got != tc.want {
			t.Errorf("%s: %s %s = %d; want %d", tc.who, tc.method, tc.path, got, tc.want)
		}
	}
}
