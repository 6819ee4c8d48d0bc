package example;

/** A model could not be trained; the text says why. */
public final class TrainingFailed extends RuntimeException {
  public TrainingFailed(String why) {
    super(why);
  }
}
