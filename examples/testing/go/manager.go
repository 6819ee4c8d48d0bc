// Package manager is the application under test: it trains models with jobs and keeps a table of them.
package manager

import (
	"context"
	"errors"
	"sync"
	"time"

	pb "example/manager/gen/kusciaapi"
)

// Manager trains models on the server of its client.
type Manager struct {
	Jobs pb.JobServiceClient
	mu   sync.Mutex
	rows map[string]string
}

// Start begins a training.
func (m *Manager) Start(ctx context.Context, id string) error {
	task := &pb.Task{Alias: "train", AppImage: "model-image", Parties: []*pb.Party{{DomainId: "alice"}, {DomainId: "bob"}}}
	answer, err := m.Jobs.CreateJob(ctx, &pb.CreateJobRequest{JobId: id, Initiator: "alice", Tasks: []*pb.Task{task}})
	if err == nil && answer.Status.Code != 0 {
		err = errors.New(answer.Status.Message)
	}
	return err
}

// Train returns once the model is trained, or an error that says why it is not.
func (m *Manager) Train(ctx context.Context, id string) error {
	if err := m.Start(ctx, id); err != nil {
		return err
	}
	for {
		answer, err := m.Jobs.QueryJob(ctx, &pb.QueryJobRequest{JobId: id})
		if err != nil {
			return err
		}
		switch status := answer.GetData().GetStatus(); status.GetState() {
		case "Succeeded":
			return nil
		case "Failed":
			return errors.New(status.ErrMsg)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Follow keeps the table until the context ends. A watch that is lost begins again with all jobs.
func (m *Manager) Follow(ctx context.Context) {
	for ctx.Err() == nil {
		watch, err := m.Jobs.WatchJob(ctx, &pb.WatchJobRequest{})
		m.mu.Lock()
		m.rows = map[string]string{}
		m.mu.Unlock()
		for err == nil {
			var event *pb.WatchJobEventResponse
			if event, err = watch.Recv(); err == nil {
				m.note(event)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (m *Manager) note(event *pb.WatchJobEventResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if event.Type == pb.EventType_DELETED {
		delete(m.rows, event.Object.JobId)
	} else if event.Type != pb.EventType_HEARTBEAT {
		m.rows[event.Object.JobId] = event.Object.Status.State
	}
}

// Row is the state of a job as the watch has told it; empty without one.
func (m *Manager) Row(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows[id]
}
