/** SIGTERM and SIGINT: the first one asks to stop in order, a second one ends the process at once. */

/**
 * Ctrl-C under `npm start` arrives twice within moments: from the terminal, and passed on by npm. A person
 * who presses it again is slower.
 */
const SAME_KEY_PRESS_MS = 200

/** @returns a function that stops listening */
export function onStopSignals(
  stop: (signal: NodeJS.Signals) => void,
  endNow: (signal: NodeJS.Signals) => void,
): () => void {
  let first: { readonly signal: NodeJS.Signals; readonly atMs: number } | null = null
  const handle = (signal: NodeJS.Signals): void => {
    const nowMs = performance.now()
    if (first === null) {
      first = { signal, atMs: nowMs }
      stop(signal)
    } else if (signal !== 'SIGINT' || first.signal !== 'SIGINT' || nowMs - first.atMs > SAME_KEY_PRESS_MS) {
      endNow(signal)
    }
  }
  process.on('SIGTERM', handle).on('SIGINT', handle)
  return () => process.off('SIGTERM', handle).off('SIGINT', handle)
}

/** What a shell reports for a process that a signal ended. */
export function signalExitCode(signal: NodeJS.Signals): number {
  return signal === 'SIGINT' ? 130 : 143
}
