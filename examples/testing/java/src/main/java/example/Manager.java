package example;

import io.grpc.Channel;
import io.grpc.Context;
import io.grpc.StatusRuntimeException;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.secretflow.v1alpha1.kusciaapi.Job.CreateJobRequest;
import org.secretflow.v1alpha1.kusciaapi.Job.EventType;
import org.secretflow.v1alpha1.kusciaapi.Job.Party;
import org.secretflow.v1alpha1.kusciaapi.Job.QueryJobRequest;
import org.secretflow.v1alpha1.kusciaapi.Job.Task;
import org.secretflow.v1alpha1.kusciaapi.Job.WatchJobRequest;
import org.secretflow.v1alpha1.kusciaapi.JobServiceGrpc;

/** The application under test: it trains models with jobs and keeps a table of them. Nothing in it knows of tests. */
public final class Manager implements AutoCloseable {
  /** The state of each job, as the watch tells. */
  public final Map<String, String> rows = new ConcurrentHashMap<>();

  private final JobServiceGrpc.JobServiceBlockingStub jobs;
  private final Context.CancellableContext open = Context.current().withCancellation();

  public Manager(Channel channel) {
    jobs = JobServiceGrpc.newBlockingStub(channel);
    Thread page = new Thread(open.wrap(this::follow));
    page.setDaemon(true);
    page.start();
  }

  @Override
  public void close() {
    open.cancel(null);
  }

  public void start(String id) {
    Task.Builder task = Task.newBuilder().setAlias("train").setAppImage("model-image");
    for (String domain : new String[] {"alice", "bob"}) {
      task.addParties(Party.newBuilder().setDomainId(domain));
    }
    var answer = jobs.createJob(CreateJobRequest.newBuilder().setJobId(id).setInitiator("alice").addTasks(task).build());
    if (answer.getStatus().getCode() != 0) {
      throw new IllegalStateException(answer.getStatus().getMessage());
    }
  }

  /** Returns once the model is trained. */
  public void train(String id) {
    start(id);
    while (true) {
      var status = jobs.queryJob(QueryJobRequest.newBuilder().setJobId(id).build()).getData().getStatus();
      if (status.getState().equals("Succeeded")) {
        return;
      }
      if (status.getState().equals("Failed")) {
        throw new TrainingFailed(status.getErrMsg());
      }
      pause();
    }
  }

  private void follow() {
    while (!open.isCancelled()) { // a watch that is lost begins again with all jobs
      try {
        var events = jobs.watchJob(WatchJobRequest.getDefaultInstance());
        rows.clear();
        events.forEachRemaining(
            event -> {
              if (event.getType() == EventType.DELETED) {
                rows.remove(event.getObject().getJobId());
              } else if (event.getType() != EventType.HEARTBEAT) {
                rows.put(event.getObject().getJobId(), event.getObject().getStatus().getState());
              }
            });
      } catch (StatusRuntimeException lost) {
        pause();
      }
    }
  }

  private static void pause() {
    try {
      Thread.sleep(10);
    } catch (InterruptedException error) {
      throw new IllegalStateException(error);
    }
  }
}
