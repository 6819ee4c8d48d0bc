package example;

import com.google.gson.JsonParser;
import com.google.protobuf.Duration;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.function.BooleanSupplier;
import kusciajob.testing.v1.Control.ClockMode;
import kusciajob.testing.v1.Control.ResetRequest;
import kusciajob.testing.v1.Control.Rule;
import kusciajob.testing.v1.Control.Script;
import kusciajob.testing.v1.Control.Selector;
import kusciajob.testing.v1.Control.SetScriptsRequest;
import kusciajob.testing.v1.Control.VerifyRequest;
import kusciajob.testing.v1.ControlServiceGrpc;

/** The server of all tests, a process that ends with them. */
final class Kuscia {
  static final ManagedChannel CHANNEL = start();
  static final ControlServiceGrpc.ControlServiceBlockingStub CONTROL = ControlServiceGrpc.newBlockingStub(CHANNEL);

  private Kuscia() {}

  private static ManagedChannel start() {
    try {
      Path ready = Files.createTempDirectory("kuscia").resolve("ready.json");
      Process server =
          new ProcessBuilder(
                  "kusciajob", "serve", "--testing", "--grpc-port=0", "--http-port=-1", "--exit-with-parent", "--ready-file=" + ready)
              .redirectError(new File("target/kusciajob.log"))
              .start();
      Runtime.getRuntime().addShutdownHook(new Thread(server::destroy));
      until(() -> Files.exists(ready));
      String address = JsonParser.parseString(Files.readString(ready)).getAsJsonObject().get("grpc").getAsString();
      return ManagedChannelBuilder.forTarget(address).usePlaintext().build();
    } catch (java.io.IOException error) {
      throw new IllegalStateException("kusciajob is not installed: pip install 'kusciajob[server]'", error);
    }
  }

  /** Everything is as at the start, with these settings and rules; time passes whenever nothing else can happen. */
  static void begin(Map<String, String> settings, Rule... rules) {
    CONTROL.reset(ResetRequest.newBuilder().putAllSettings(settings).setMode(ClockMode.CLOCK_MODE_AUTO).build());
    SetScriptsRequest.Builder request = SetScriptsRequest.newBuilder();
    for (Rule rule : rules) {
      request.addRules(rule);
    }
    CONTROL.setScripts(request.build());
  }

  /** Fails for rules that never matched, and for errors that the server has logged. */
  static void verify() {
    var problems = CONTROL.verify(VerifyRequest.getDefaultInstance()).getProblemsList();
    if (!problems.isEmpty()) {
      throw new AssertionError(String.join("\n", problems));
    }
  }

  static Rule rule(String task, String party, Script.Builder script) {
    return Rule.newBuilder().setWhere(Selector.newBuilder().setTask(task).setDomain(party)).setScript(script).build();
  }

  static Duration hours(int count) {
    return Duration.newBuilder().setSeconds(3600L * count).build();
  }

  static void until(BooleanSupplier isSo) {
    long end = System.nanoTime() + 30_000_000_000L;
    while (!isSo.getAsBoolean()) {
      if (System.nanoTime() > end) {
        throw new AssertionError("it never came to that");
      }
      try {
        Thread.sleep(5);
      } catch (InterruptedException error) {
        throw new IllegalStateException(error);
      }
    }
  }
}
