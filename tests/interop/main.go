// Interop uses one recipe of etcd's Go client, as told on standard input:
//
//	interop ENDPOINT RECIPE NAME [COUNT]
//
// Each line of input is an action, perhaps with an argument; it is answered by one line, "ok" and what there is to tell,
// or "error" and why. The recipe's lease, of five seconds, lives as long as the process; the end of the input revokes it.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

const ttl = 5

func main() {
	count := 0
	if len(os.Args) > 4 {
		count, _ = strconv.Atoi(os.Args[4])
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], count); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(endpoint, recipe, name string, count int) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(ttl))
	if err != nil {
		return err
	}
	defer session.Close()
	begin, ok := recipes[recipe]
	if !ok {
		return fmt.Errorf("there is no recipe %q", recipe)
	}
	obey(begin(session, name, count))
	return nil
}

func obey(actions actions) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		name, argument, _ := strings.Cut(lines.Text(), " ")
		action, ok := actions[name]
		if !ok {
			fmt.Printf("error: no such action: %s\n", name)
		} else if told, err := action(argument); err != nil {
			fmt.Printf("error: %v\n", err)
		} else {
			fmt.Printf("ok %s\n", told)
		}
	}
}
