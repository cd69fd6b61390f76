package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"bulkhead/internal/peer"
	"bulkhead/internal/report"
	"bulkhead/internal/run"
	"bulkhead/internal/vm"
	"bulkhead/internal/vm/guest"
)

// peers carries out the claims on two hosts. An error is wrong usage.
func (f *vmFlags) peers(ctx context.Context, names [2]string, o run.Options, pcap string, console io.Writer, note func(string)) (*report.Result, error) {
	var capture *output
	if pcap != "" {
		var err error
		if capture, err = newOutput(pcap); err != nil {
			return nil, err
		}
		defer capture.abandon()
	}
	segment, err := vm.NewSegment(2)
	if err != nil {
		return nil, err
	}
	defer segment.Close()
	started := time.Now()
	var guests [2]vm.Options
	for i, name := range names {
		k, err := f.find(ctx, name)
		if err != nil {
			return nil, err
		}
		v := f.options(k, func(s string) { note(name + ": " + s) })
		v.Ethernet = segment.Guest(i)
		v.Job = guest.Job{Argv: []string{peer.HostName, fmt.Sprint(i + 1)}, Address: peer.Address(i + 1)}
		guests[i] = v
	}
	claims := peer.Claims()
	r := &report.Result{
		Version: report.SchemaVersion, Tool: report.Tool{Name: "bulkhead", Version: o.Version},
		Started: started.UTC(), Seed: max(1, o.Seed), Claims: claims,
		Kernel: report.Kernel{Release: names[0] + " with " + names[1], Arch: guests[0].Kernel.Arch, Root: true},
	}
	announced := *r
	o.Event(report.Event{Event: "run-started", Time: started.UTC(), Result: &announced})
	for _, c := range claims {
		o.Event(report.Event{Event: "claim-started", Time: time.Now().UTC(), ID: c.ID})
	}
	var hosts [2]peer.Host
	var consoles [2]bytes.Buffer
	var errs [2]error
	var both sync.WaitGroup
	// The end of one that was not as it should be is the end of the other,
	// which would wait for it.
	pair, cancel := context.WithCancel(ctx)
	defer cancel()
	var first sync.Once
	for i := range guests {
		both.Go(func() {
			if console != nil {
				guests[i].Console = &consoles[i]
			}
			out, err := vm.Run(pair, guests[i])
			hosts[i].Name, errs[i] = names[i], err
			if err != nil {
				cancel()
				return
			}
			hosts[i].Lines = out.Lines
			if out.Complete && out.Status == 0 {
				return
			}
			first.Do(func() {
				hosts[i].Lost = lost(out)
				cancel()
			})
			if hosts[i].Lost == "" {
				hosts[i].Lost = "it was stopped, for the other host had ended"
			}
		})
	}
	both.Wait()
	for i := range guests {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if console != nil {
			fmt.Fprintf(console, "== %s\n%s\n", names[i], consoles[i].Bytes())
		}
	}
	var frames [][]byte
	for _, fr := range segment.Frames() {
		frames = append(frames, fr.Data)
	}
	r.Claims = peer.Judge(hosts, frames)
	r.Partial = ctx.Err() != nil
	for i := range r.Claims {
		c := &r.Claims[i]
		o.Event(report.Event{Event: "claim-finished", Time: time.Now().UTC(), ID: c.ID, Claim: c})
	}
	r.Kernel = hosts[0].Kernel()
	r.Kernel.Release += " with " + hosts[1].Kernel().Release
	r.Summary = report.Count(r.Claims)
	r.DurationMS = float64(time.Since(started).Microseconds()) / 1000
	if capture != nil {
		err := segment.WriteCapture(capture)
		if err == nil {
			err = capture.Close()
		}
		if err != nil {
			return nil, err
		}
	}
	o.Event(report.Event{Event: "run-finished", Time: time.Now().UTC(), Result: r})
	return r, nil
}

// lost says why a host's program did not come to its end.
func lost(out *vm.Outcome) string {
	why := out.Why
	if why == "" {
		why = fmt.Sprintf("its program ended with status %d", out.Status)
		for line := range strings.Lines(out.Console) {
			if _, said, ok := strings.Cut(line, "bulkhead guest: "); ok {
				why = strings.TrimSpace(said)
			}
		}
	}
	if out.Console != "" {
		why += "\nthe end of its console:\n" + out.Console
	}
	return why
}
