package vaulttest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"testing"
)

// object is a JSON object of Vault's API.
type object = map[string]any

// request is one request to Vault.
type request struct {
	token, method, path string
	body                any
	// wrapTTL asks for a response-wrapping token instead of the answer.
	wrapTTL string
}

// Do sends one request with a token and returns status and body.
func (s *Server) Do(tb testing.TB, token, method, path string, body any) (int, map[string]any) {
	tb.Helper()
	return s.send(tb, request{token: token, method: method, path: path, body: body})
}

func (s *Server) send(tb testing.TB, r request) (int, map[string]any) {
	tb.Helper()
	var content bytes.Buffer
	if r.body != nil {
		if err := json.NewEncoder(&content).Encode(r.body); err != nil {
			tb.Fatalf("encoding the body for %s: %v", r.path, err)
		}
	}
	req, err := http.NewRequestWithContext(context.Background(), r.method, s.Address+"/v1/"+r.path, &content)
	if err != nil {
		tb.Fatalf("making the request for %s: %v", r.path, err)
	}
	if r.token != "" {
		req.Header.Set("X-Vault-Token", r.token)
	}
	if r.wrapTTL != "" {
		req.Header.Set("X-Vault-Wrap-TTL", r.wrapTTL)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		tb.Fatalf("asking Vault for %s: %v", r.path, err)
	}
	defer resp.Body.Close()
	var reply map[string]any
	// Some answers of Vault have no body.
	_ = json.NewDecoder(resp.Body).Decode(&reply)
	return resp.StatusCode, reply
}

// must is Do for what has to succeed.
func (s *Server) must(tb testing.TB, token, method, path string, body any) map[string]any {
	tb.Helper()
	status, reply := s.Do(tb, token, method, path, body)
	if status >= 300 {
		tb.Fatalf("%s %s: status %d, %v", method, path, status, reply["errors"])
	}
	return reply
}

// Write writes as root and returns the answer's data, if any.
func (s *Server) Write(tb testing.TB, path string, body map[string]any) map[string]any {
	tb.Helper()
	data, _ := s.must(tb, s.RootToken, http.MethodPut, path, body)["data"].(map[string]any)
	return data
}

// Read reads as root and returns the answer's data.
func (s *Server) Read(tb testing.TB, path string) map[string]any {
	tb.Helper()
	data, _ := s.must(tb, s.RootToken, http.MethodGet, path, nil)["data"].(map[string]any)
	return data
}

// Delete deletes as root.
func (s *Server) Delete(tb testing.TB, path string) {
	tb.Helper()
	s.must(tb, s.RootToken, http.MethodDelete, path, nil)
}
