// Judge tells whether a history of operations on etcd is linearizable.
//
// It reads one operation per line of JSON from standard input, as tests/robustness/porcupine.py writes them, and writes
// its verdict as one JSON object: {"verdict": "Ok" | "Illegal" | "Unknown", "operations": 7, "seconds": 0.1, "stuck": [...]}.
// A history that it cannot read, or that holds what the model does not know, ends it with status 2.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	// Stuck is how many of the operations that could not be put in order are named.
	Stuck = 5
	// Diagnosis is how long to look for them at most.
	Diagnosis = 20 * time.Second
)

type verdict struct {
	Verdict    porcupine.CheckResult `json:"verdict"`
	Operations int                   `json:"operations"`
	Seconds    float64               `json:"seconds"`
	Stuck      []int                 `json:"stuck,omitempty"` // lines of operations, from 0
}

func main() {
	timeout := flag.Duration("timeout", 5*time.Minute, "after which the verdict is Unknown")
	flag.Parse()
	result, err := run(os.Stdin, *timeout)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func run(input io.Reader, timeout time.Duration) (verdict, error) {
	operations, err := read(input)
	if err != nil {
		return verdict{}, err
	}
	history := make([]porcupine.Operation, len(operations))
	for i, operation := range operations {
		history[i] = porcupine.Operation{
			Input: operation, Output: operation, Call: operation.Call, Return: operation.End, Metadata: i,
		}
	}
	begin := time.Now()
	result := porcupine.CheckOperationsTimeout(model(operations), history, timeout)
	found := verdict{Verdict: result, Operations: len(operations), Seconds: time.Since(begin).Seconds()}
	if result != porcupine.Ok {
		// A second time with notes, which cost time and space: only to say where it ended.
		_, info := porcupine.CheckOperationsVerbose(model(operations), history, min(timeout, Diagnosis))
		found.Stuck = stuck(info, history)
	}
	return found, nil
}

func read(input io.Reader) ([]*Operation, error) {
	var operations []*Operation
	decoder := json.NewDecoder(bufio.NewReader(input))
	decoder.DisallowUnknownFields()
	decoder.UseNumber() // ids of leases pass what a float64 can hold
	for {
		operation := new(Operation)
		err := decoder.Decode(operation)
		if errors.Is(err, io.EOF) {
			return operations, nil
		}
		if err == nil {
			err = operation.check()
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(operations), err)
		}
		operations = append(operations, operation)
	}
}

// stuck returns the first operations, by their end, that are missing from the longest order that was found.
func stuck(info porcupine.LinearizationInfo, history []porcupine.Operation) []int {
	longest := map[int]bool{}
	for _, partition := range info.PartialLinearizations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = map[int]bool{}
				for _, id := range order {
					longest[id] = true
				}
			}
		}
	}
	var found []int
	for len(found) < Stuck {
		next := -1
		for id := range history {
			if !longest[id] && (next < 0 || history[id].Return < history[next].Return) {
				next = id
			}
		}
		if next < 0 {
			break
		}
		longest[next] = true
		found = append(found, next)
	}
	return found
}
