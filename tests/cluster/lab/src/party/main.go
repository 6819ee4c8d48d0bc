// party is the program in the images that the lab makes itself; it is static, so that an image is this one file.
//
//	party pause                 wait for a signal: the image of a pod's sandbox
//	party run                   one party of a task, as the environment says:
//	  LISTEN=:9000              answer each connection with "hello from NAME"
//	  PEERS=host:port,...       call each peer until it answers, or end with 3 after PEER_TIMEOUT seconds
//	  SECONDS=5  EXIT=0         then wait that long and end with that code
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func number(name string, otherwise float64) float64 {
	if value, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil {
		return value
	}
	return otherwise
}

func seconds(value float64) time.Duration { return time.Duration(value * float64(time.Second)) }

func say(format string, values ...any) {
	fmt.Printf(time.Now().UTC().Format("15:04:05.000 ")+format+"\n", values...)
}

func serve(address, name string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		say("cannot listen: %v", err)
		os.Exit(4)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		say("called by %s", connection.RemoteAddr())
		fmt.Fprintf(connection, "hello from %s\n", name)
		connection.Close()
	}
}

func call(peer string, deadline time.Time) {
	for tries := 1; ; tries++ {
		connection, err := net.DialTimeout("tcp", peer, time.Second)
		if err == nil {
			var answer string
			connection.SetReadDeadline(time.Now().Add(2 * time.Second))
			answer, err = bufio.NewReader(connection).ReadString('\n')
			remote := connection.RemoteAddr()
			connection.Close()
			if err == nil {
				say("%s (%s) after %d tries: %s", peer, remote, tries, strings.TrimSpace(answer))
				return
			}
		}
		if time.Now().After(deadline) {
			say("%s never answered: %v", peer, err)
			os.Exit(3)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if len(os.Args) < 2 || os.Args[1] == "pause" {
		<-signals
		return
	}
	go func() {
		got := <-signals
		say("%v: leaving", got)
		os.Exit(143)
	}()
	name, _ := os.Hostname()
	say("%s starts", name)
	if address := os.Getenv("LISTEN"); address != "" {
		go serve(address, name)
	}
	deadline := time.Now().Add(seconds(number("PEER_TIMEOUT", 60)))
	for _, peer := range strings.Split(os.Getenv("PEERS"), ",") {
		if peer != "" {
			call(peer, deadline)
		}
	}
	time.Sleep(seconds(number("SECONDS", 0)))
	code := int(number("EXIT", 0))
	say("%s ends with %d", name, code)
	if code != 0 {
		fmt.Fprintf(os.Stderr, "party %s failed on purpose\n", name)
	}
	os.Exit(code)
}
