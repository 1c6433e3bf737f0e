package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const planted = "CJSP5-planted-token"

type holder struct {
	Public secret.Text
	hidden secret.Text
}

func TestTextDoesNotPrint(t *testing.T) {
	h := holder{Public: secret.New(planted), hidden: secret.New(planted)}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &h)
		fmt.Fprintf(&out, verb+"\n", h.hidden)
	}
	raw, err := json.Marshal(map[string]any{"h": h, "key": map[secret.Text]int{h.Public: 1}})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(raw)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "text", h.Public, "holder", h)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "text", h.Public, "holder", h)
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zap.DebugLevel)
	zap.New(core).Info("x", zap.Any("text", h.Public), zap.Any("holder", h), zap.Stringer("s", h.Public))

	hexed := fmt.Sprintf("%x", planted)
	for _, leak := range []string{planted, hexed, strings.ToUpper(hexed)} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("output contains the secret: %s", out.String())
		}
	}
}

func TestTextEqual(t *testing.T) {
	for _, tc := range []struct {
		a, b secret.Text
		want bool
	}{
		{secret.New("a"), secret.New("a"), true},
		{secret.New("a"), secret.New("b"), false},
		{secret.New("a"), secret.Text{}, false},
		{secret.New(""), secret.Text{}, true},
	} {
		if got := tc.a.Equal(tc.b); got != tc.want {
			t.Errorf("Equal(%q, %q) = %v; want %v", tc.a.Reveal(), tc.b.Reveal(), got, tc.want)
		}
	}
}

func TestMark(t *testing.T) {
	a, again, b := secret.New("a-secret"), secret.New("a-secret"), secret.New("another")
	if a.Mark() != again.Mark() || a.Mark() == b.Mark() {
		t.Error("marks do not tell secrets apart")
	}
	if (secret.Text{}).Mark() != (secret.Mark{}) || a.Mark() == (secret.Mark{}) {
		t.Error("the zero Mark is not that of no secret")
	}
}
