package manager

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"example/manager/gen/control"
	pb "example/manager/gen/kusciaapi"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
)

var kuscia control.ControlServiceClient
var address string

// TestMain starts the server of all tests. It ends with them.
func TestMain(m *testing.M) {
	read, write, _ := os.Pipe()
	server := exec.Command("kusciajob", "serve", "--testing", "--grpc-port=0", "--http-port=-1", "--ready-fd=3", "--exit-with-parent")
	server.ExtraFiles, server.Stderr = []*os.File{write}, os.Stderr
	if err := server.Start(); err != nil {
		panic("kusciajob is not installed (pip install 'kusciajob[server]'): " + err.Error())
	}
	write.Close()
	var ready struct{ Grpc string }
	if err := json.NewDecoder(read).Decode(&ready); err != nil {
		panic(err)
	}
	address = ready.Grpc
	kuscia = control.NewControlServiceClient(dial())
	code := m.Run()
	server.Process.Kill()
	os.Exit(code)
}

func dial() *grpc.ClientConn {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	return connection
}

// begin resets the server and starts the application. At its end a test fails for rules that never matched.
func begin(t *testing.T, settings map[string]string, rules ...*control.Rule) (context.Context, *Manager) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	mode := control.ClockMode_CLOCK_MODE_AUTO
	must(kuscia.Reset(ctx, &control.ResetRequest{Settings: settings, Mode: mode}))(t)
	must(kuscia.SetScripts(ctx, &control.SetScriptsRequest{Rules: rules}))(t)
	connection := dial()
	manager := &Manager{Jobs: pb.NewJobServiceClient(connection)}
	following, stop := context.WithCancel(ctx)
	go manager.Follow(following)
	t.Cleanup(func() {
		found := must(kuscia.Verify(ctx, &control.VerifyRequest{}))(t)
		for _, problem := range found.Problems {
			t.Error(problem)
		}
		stop()
		connection.Close()
		cancel()
	})
	return ctx, manager
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func until(t *testing.T, isSo func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !isSo(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came to that")
		}
	}
}

func rule(task, party string, script *control.Script) *control.Rule {
	return &control.Rule{Where: &control.Selector{Task: task, Domain: party}, Script: script}
}

func hours(count int) *durationpb.Duration { return durationpb.New(time.Duration(count) * time.Hour) }
