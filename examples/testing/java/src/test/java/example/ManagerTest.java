package example;

import static example.Kuscia.CONTROL;
import static example.Kuscia.begin;
import static example.Kuscia.hours;
import static example.Kuscia.rule;
import static example.Kuscia.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Map;
import kusciajob.testing.v1.Control.*;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class ManagerTest {
  private final Manager manager = new Manager(Kuscia.CHANNEL);

  @AfterEach void end() { manager.close(); Kuscia.verify(); }

  @Test void aModelIsTrained() {
    begin(Map.of());
    manager.train("j1");
  }

  @Test void bobHasNoDisk() {
    begin(Map.of(), rule("train", "bob", Script.newBuilder().setExitCode(3).setMessage("no disk").setAfter(hours(1))));
    var failure = assertThrows(TrainingFailed.class, () -> manager.train("j1"));
    assertEquals("Task[train]-Party[bob]: exit code 3: no disk", failure.getMessage());
  }

  @Test void aSlowJobSucceedsInTheEnd() {
    begin(Map.of(), rule("train", "", Script.newBuilder().setAfter(hours(20))));
    manager.train("j1"); // 20 hours of the server's time, milliseconds of ours
  }

  @Test void theTableRepairsItselfAfterALostWatch() {
    begin(Map.of(), rule("train", "", Script.newBuilder().setHold(true)));
    manager.start("j1");
    var held = Selector.newBuilder().setTask("train");
    CONTROL.awaitIdle(AwaitIdleRequest.newBuilder().setHeld(held).build());
    CONTROL.injectFaults(InjectFaultsRequest.newBuilder().setCutStreams("Watch*").build());
    CONTROL.release(ReleaseRequest.newBuilder().setWhere(held).build());
    until(() -> "Succeeded".equals(manager.rows.get("j1")));
  }

  @Test void aJobWaitsForApproval() {
    begin(Map.of("require_approval", "true"));
    manager.start("j1");
    until(() -> "AwaitingApproval".equals(manager.rows.get("j1")));
  }

  @Test void aRowGoesAfter30Days() {
    begin(Map.of());
    manager.train("j1");
    until(() -> "Succeeded".equals(manager.rows.get("j1")));
    CONTROL.advanceClock(AdvanceClockRequest.newBuilder().setBy(hours(31 * 24)).build());
    until(() -> !manager.rows.containsKey("j1"));
  }
}
