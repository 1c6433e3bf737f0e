package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestUpstreamAnswersAsHubSpot(t *testing.T) {
	t.Parallel()
	u := &upstream{list: listBody(), object: objectBody()}
	for _, test := range []struct {
		method, authorization string
		status                int
		body                  []byte
	}{
		{http.MethodGet, "Bearer " + upstreamToken, http.StatusOK, listBody()},
		{http.MethodPost, "Bearer " + upstreamToken, http.StatusCreated, objectBody()},
		{http.MethodGet, "Bearer " + callerKey, http.StatusUnauthorized, nil},
		{http.MethodGet, "", http.StatusUnauthorized, nil},
	} {
		r := httptest.NewRequest(test.method, listPath, nil)
		r.Header.Set("Authorization", test.authorization)
		w := httptest.NewRecorder()
		u.ServeHTTP(w, r)
		if w.Code != test.status || !bytes.Equal(w.Body.Bytes(), test.body) {
			t.Errorf("%s with %q: %d, %q", test.method, test.authorization, w.Code, w.Body)
		}
		if w.Header().Get("X-HubSpot-RateLimit-Max") == "" {
			t.Error("there is no rate limit in the answer")
		}
	}
	if u.http1.Load() != 2 || u.refused.Load() != 2 {
		t.Errorf("%d answered and %d refused, want 2 and 2", u.http1.Load(), u.refused.Load())
	}
	if size := len(listBody()); size < 1300 || size > 1700 {
		t.Errorf("the list has %d bytes, not some 1,500", size)
	}
}
