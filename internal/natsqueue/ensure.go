package natsqueue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// checkVersion refuses servers that cannot publish atomically. 2.12.0, which could,
// was withdrawn, and does not answer.
func checkVersion(version string) error {
	var major, minor, patch int
	if n, _ := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); n < 3 {
		return nil // no release: whoever runs it knows
	}
	if cmp.Or(cmp.Compare(major, 2), cmp.Compare(minor, 12), cmp.Compare(patch, 1)) < 0 {
		return fmt.Errorf("the server is NATS %s: webhooks need 2.12.1 or later", version)
	}
	return nil
}

// streamConfig is what the stream has to be.
func streamConfig(c *Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: c.Stream, Description: "Webhooks of HubSpot that are not delivered yet", Subjects: []string{namesOf(*c).all()},
		Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Replicas: cmp.Or(c.Replicas, 1),
		MaxBytes: cmp.Or(c.MaxBytes, defaultMaxBytes), Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 1,
		AllowMsgTTL: true, AllowAtomicPublish: true,
	}
}

func stateBucket(c *Config) jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket: namesOf(*c).state, Description: "What was tried of the webhooks in " + c.Stream,
		Storage: jetstream.FileStorage, Replicas: cmp.Or(c.Replicas, 1), LimitMarkerTTL: markerTTL,
	}
}

// markerTTL is how long it is remembered that a record was removed.
const markerTTL = time.Hour

func ownersBucket(c *Config) jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket: namesOf(*c).owners, Description: "Which sidecar delivers which webhooks of " + c.Stream,
		Storage: jetstream.FileStorage, Replicas: cmp.Or(c.Replicas, 1), TTL: cmp.Or(c.Lease, defaultLease),
	}
}

// ensureStream finds the stream, or makes it. One that is there gets another size
// if the settings say so; what else is not right is for who made it.
func (s *session) ensureStream(ctx context.Context) (jetstream.Stream, error) {
	want := streamConfig(&s.config)
	stream, err := s.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return s.makeStream(ctx, want)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for stream %s: %w", want.Name, cause(ctx, err))
	}
	have := stream.CachedInfo().Config
	if wrong := differences(have, want); len(wrong) > 0 {
		return nil, fmt.Errorf("stream %s has other settings than webhooks need: %s; change it with `nats stream edit %s`, or have another made by naming it",
			want.Name, strings.Join(wrong, ", "), want.Name)
	}
	if s.config.MaxBytes == 0 || have.MaxBytes == want.MaxBytes {
		return stream, nil
	}
	changed := have
	changed.MaxBytes = want.MaxBytes
	if stream, err = s.js.UpdateStream(ctx, changed); err != nil {
		return nil, fmt.Errorf("changing max_bytes of stream %s from %d to %d, as max_size says: %w; if that is not permitted, run: nats stream edit %s --max-bytes=%d",
			want.Name, have.MaxBytes, want.MaxBytes, cause(ctx, err), want.Name, want.MaxBytes)
	}
	return stream, nil
}

// cause is what ended a context, if that is what an error says.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// makeStream makes the stream. Another sidecar may be faster.
func (s *session) makeStream(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := s.js.CreateStream(ctx, want)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return s.js.Stream(ctx, want.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("making stream %s: %w; if that is not permitted, run: nats stream add %s --config=stream.json, with this in stream.json: %s",
			want.Name, cause(ctx, err), want.Name, asJSON(want))
	}
	s.q.logger.Info("made a stream for webhooks", "stream", want.Name, "subjects", want.Subjects)
	return stream, nil
}

// differences says what keeps a stream from being used.
func differences(have, want jetstream.StreamConfig) (wrong []string) {
	check := func(ok bool, setting string, is, wanted any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s is %v, not %v", setting, is, wanted))
		}
	}
	check(slices.Contains(have.Subjects, want.Subjects[0]), "subjects", have.Subjects, want.Subjects)
	check(have.Retention == want.Retention, "retention", have.Retention, want.Retention)
	check(have.Storage == want.Storage, "storage", have.Storage, want.Storage)
	check(have.Discard == want.Discard && !have.DiscardNewPerSubject, "discard", have.Discard, want.Discard)
	check(have.MaxMsgsPerSubject == 1, "max_msgs_per_subject", have.MaxMsgsPerSubject, 1)
	check(have.MaxAge == 0, "max_age", have.MaxAge, 0)
	check(have.AllowMsgTTL, "allow_msg_ttl", have.AllowMsgTTL, true)
	check(have.AllowAtomicPublish, "allow_atomic", have.AllowAtomicPublish, true)
	return wrong
}

func asJSON(c jetstream.StreamConfig) string {
	b, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// ensureBucket finds a bucket, or makes it.
func (s *session) ensureBucket(ctx context.Context, want jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	bucket, err := s.js.KeyValue(ctx, want.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		bucket, err = s.makeBucket(ctx, want)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for bucket %s: %w", want.Bucket, cause(ctx, err))
	}
	status, err := bucket.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking at bucket %s: %w", want.Bucket, err)
	}
	if status.TTL() != want.TTL || (status.LimitMarkerTTL() > 0) != (want.LimitMarkerTTL > 0) {
		return nil, fmt.Errorf("bucket %s has a TTL of %v and one of markers of %v, not %v and %v; run: nats kv rm %s; nats kv add %s --replicas=%d%s",
			want.Bucket, status.TTL(), status.LimitMarkerTTL(), want.TTL, want.LimitMarkerTTL, want.Bucket, want.Bucket, want.Replicas, lifetimes(want))
	}
	return bucket, nil
}

// makeBucket makes a bucket. Another sidecar may be faster.
func (s *session) makeBucket(ctx context.Context, want jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	bucket, err := s.js.CreateKeyValue(ctx, want)
	if errors.Is(err, jetstream.ErrBucketExists) {
		return s.js.KeyValue(ctx, want.Bucket)
	}
	if err != nil {
		return nil, fmt.Errorf("it is not there, and making it: %w; if that is not permitted, run: nats kv add %s --replicas=%d%s",
			cause(ctx, err), want.Bucket, want.Replicas, lifetimes(want))
	}
	return bucket, nil
}

func lifetimes(c jetstream.KeyValueConfig) string {
	text := ""
	if c.TTL > 0 {
		text += fmt.Sprintf(" --ttl=%v", c.TTL)
	}
	if c.LimitMarkerTTL > 0 {
		text += fmt.Sprintf(" --marker-ttl=%v", c.LimitMarkerTTL)
	}
	return text
}
