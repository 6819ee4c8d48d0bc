package manager

import (
	"strings"
	"testing"

	"example/manager/gen/control"
)

func TestAModelIsTrained(t *testing.T) {
	ctx, manager := begin(t, nil)
	if err := manager.Train(ctx, "j1"); err != nil {
		t.Fatal(err)
	}
}

func TestBobHasNoDisk(t *testing.T) {
	ctx, manager := begin(t, nil, rule("train", "bob", &control.Script{ExitCode: 3, Message: "no disk", After: hours(1)}))
	if err := manager.Train(ctx, "j1"); err == nil || !strings.Contains(err.Error(), "no disk") {
		t.Fatal(err)
	}
}

func TestASlowJobSucceedsInTheEnd(t *testing.T) {
	ctx, manager := begin(t, nil, rule("train", "", &control.Script{After: hours(20)}))
	if err := manager.Train(ctx, "j1"); err != nil { // 20 hours of the server's time, milliseconds of ours
		t.Fatal(err)
	}
}

func TestTheTableRepairsItselfAfterALostWatch(t *testing.T) {
	ctx, manager := begin(t, nil, rule("train", "", &control.Script{Hold: true}))
	must(0, manager.Start(ctx, "j1"))(t)
	held := &control.Selector{Task: "train"}
	must(kuscia.AwaitIdle(ctx, &control.AwaitIdleRequest{Held: held}))(t)
	must(kuscia.InjectFaults(ctx, &control.InjectFaultsRequest{CutStreams: "Watch*"}))(t)
	must(kuscia.Release(ctx, &control.ReleaseRequest{Where: held}))(t)
	until(t, func() bool { return manager.Row("j1") == "Succeeded" })
}

func TestAJobWaitsForApproval(t *testing.T) {
	ctx, manager := begin(t, map[string]string{"require_approval": "true"})
	must(0, manager.Start(ctx, "j1"))(t)
	until(t, func() bool { return manager.Row("j1") == "AwaitingApproval" })
}

func TestARowGoesAfter30Days(t *testing.T) {
	ctx, manager := begin(t, nil)
	must(0, manager.Train(ctx, "j1"))(t)
	until(t, func() bool { return manager.Row("j1") == "Succeeded" })
	must(kuscia.AdvanceClock(ctx, &control.AdvanceClockRequest{By: hours(31 * 24)}))(t)
	until(t, func() bool { return manager.Row("j1") == "" })
}
