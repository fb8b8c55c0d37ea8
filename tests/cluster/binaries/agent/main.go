// Agent stands for an agent runtime: one static file that keeps the container contract and does
// nothing else, so that an image of it is a few MB. It is also the pause container of a node.
//
//	agent                    answers on port 8000
//	agent pause              waits to be stopped
//	agent fade               answers for a few seconds, and ends
//	agent lookup NAME        prints the addresses of a name, as the container resolves it
//	agent write FILE TEXT    writes a file
//	agent read FILE          prints a file
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return serve()
	}
	switch command := args[0]; {
	case command == "pause" && len(args) == 1:
		wait()
		return nil
	case command == "fade" && len(args) == 1:
		time.AfterFunc(3*time.Second, func() { os.Exit(1) })
		return serve()
	case command == "lookup" && len(args) == 2:
		return lookup(args[1])
	case command == "write" && len(args) == 3:
		return os.WriteFile(args[1], []byte(args[2]+"\n"), 0o644)
	case command == "read" && len(args) == 2:
		text, err := os.ReadFile(args[1])
		fmt.Print(string(text))
		return err
	}
	return fmt.Errorf("usage: agent [pause | fade | lookup NAME | write FILE TEXT | read FILE]")
}

// serve ends at once when it is asked to, as an agent that was stopped has nothing to finish.
func serve() error {
	go func() {
		wait()
		os.Exit(0)
	}()
	greet := func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(answer, "this is", os.Getenv("WORKSPACE_ID"))
	}
	return http.ListenAndServe(":8000", http.HandlerFunc(greet))
}

func wait() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	<-told
}

func lookup(name string) error {
	limited, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(limited, name)
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addresses, " "))
	return nil
}
