/** A reason not to start that the operator can act on: shown as one sentence, without a stack trace. */
export class StartupError extends Error {
  override readonly name: string = "StartupError";
}
