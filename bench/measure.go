package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// measurement is what one run of one contender gave.
type measurement struct {
	// Rate is requests answered per second.
	Rate float64 `json:"requestsPerSecond"`
	// P50 and P99 are latencies in milliseconds.
	P50 float64 `json:"p50Ms"`
	P99 float64 `json:"p99Ms"`
	// CPU is what the contender used, in milliseconds per 1,000 requests.
	// Zero for direct.
	CPU float64 `json:"cpuMsPer1000"`
	// RSS is the contender's memory at the end, in MiB. Zero for direct.
	RSS float64 `json:"rssMiB"`
	// Upstream is what the upstream was asked meanwhile.
	Upstream upstreamCounts `json:"upstream"`
	// Others is the part of the machine's processors that programs outside
	// of the bench, and other machines on the same hardware, took meanwhile.
	Others float64 `json:"others"`
}

// cell is one table: all contenders under one load.
type cell struct {
	// Protocol is the upstream's: http1, or http2 beside it.
	Protocol string `json:"upstream"`
	// Method is GET of a list, or POST of an object of 1 KB.
	Method string `json:"method"`
	// Clients is how many send requests at the same time.
	Clients int `json:"clients"`
	// Names are the contenders, in the order of the table.
	Names []string `json:"contenders"`
	// Rounds are the measurements of each round, by contender.
	Rounds []map[string]measurement `json:"rounds"`
}

// measureCell measures all contenders under one load, in rounds. Each round
// begins with another of them, so that none always follows the same.
func (s *stage) measureCell(ctx context.Context, protocol string, l load) (cell, error) {
	c := cell{Protocol: protocol, Method: l.method, Clients: l.clients}
	for _, r := range s.running {
		c.Names = append(c.Names, r.Name)
	}
	for round := range s.options.rounds {
		results := make(map[string]measurement)
		first := round % len(s.running)
		for _, r := range slices.Concat(s.running[first:], s.running[:first]) {
			m, err := s.measure(ctx, l, r)
			if err != nil {
				return c, fmt.Errorf("measuring %s: %w", r.Name, err)
			}
			s.options.progress("%s %s %d clients, round %d: %-14s %7.0f requests/s, p99 %6.2f ms, CPU %5.1f ms/1,000",
				protocol, l.method, l.clients, round+1, r.Name, m.Rate, m.P99, m.CPU)
			results[r.Name] = m
		}
		c.Rounds = append(c.Rounds, results)
	}
	return c, nil
}

// measure warms a contender up and measures it.
func (s *stage) measure(ctx context.Context, l load, r *running) (measurement, error) {
	if s.options.warmup > 0 {
		if _, err := l.run(ctx, s.folder, r, s.options.warmup); err != nil {
			return measurement{}, err
		}
	}
	before, err := s.look(r)
	if err != nil {
		return measurement{}, err
	}
	result, err := l.run(ctx, s.folder, r, s.options.duration)
	if err != nil {
		return measurement{}, err
	}
	after, err := s.look(r)
	if err != nil {
		return measurement{}, err
	}
	if result.Failed > 0 {
		return measurement{}, fmt.Errorf("%d of %d requests failed", result.Failed, result.Requests)
	}
	cpu := after.proxy.CPU - before.proxy.CPU
	own := cpu + after.upstream.CPU - before.upstream.CPU + result.cpu
	others := float64(after.machine-before.machine-own) / float64(after.at.Sub(before.at)) / float64(runtime.NumCPU())
	return measurement{
		Rate:     float64(result.Requests) / (float64(result.Microseconds) / 1e6),
		P50:      result.P50 / 1e3,
		P99:      result.P99 / 1e3,
		CPU:      float64(cpu) / float64(time.Millisecond) / float64(result.Requests) * 1000,
		RSS:      float64(after.proxy.RSS) / (1 << 20),
		Upstream: after.counts.minus(before.counts),
		Others:   max(0, others),
	}, nil
}

// reading is what is read before a run and after it.
type reading struct {
	at              time.Time
	machine         time.Duration
	proxy, upstream usage
	counts          upstreamCounts
}

func (s *stage) look(r *running) (reading, error) {
	now := reading{at: time.Now()}
	var err error
	if now.counts, err = readCounts(s.client, s.control); err != nil {
		return now, err
	}
	if now.machine, err = busy(); err != nil {
		return now, err
	}
	if now.upstream, err = s.upstream.usage(); err != nil {
		return now, err
	}
	if r.process == nil { // direct
		return now, nil
	}
	now.proxy, err = r.process.usage()
	return now, err
}
