/** What becomes of a program whose output cannot be written: a full disk, or a reader that has gone. */
// Imported so that what it does to the standard output at its first import is done, and can be undone below.
import '@oclif/core/command'
import { EXIT_UNAVAILABLE } from './exit-code.ts'

/** As a shell reports a program that SIGPIPE ended, which is what happens to most that write to nobody. */
const EXIT_PIPE = 141

/**
 * From now on output that is lost is told once and ends nothing that is under way, least of all a peer. What
 * `kvctl` prints is what it was run for: its exit code says that it was lost, whatever else came of it. That
 * of `kvnode` says how a peer has stopped.
 */
export function watchOutput(name: 'kvnode' | 'kvctl'): void {
  let isLost = false
  // oclif's listener throws, with nobody to catch it.
  process.stdout.removeAllListeners('error').on('error', (error: NodeJS.ErrnoException) => {
    if (isLost) return
    isLost = true
    // Whoever closed the pipe has read enough: `kvctl ring | head`.
    const isClosed = error.code === 'EPIPE'
    if (!isClosed) process.stderr.write(`${name}: the output cannot be written: ${reasonOf(error)}\n`)
    if (name === 'kvnode') return
    process.once('exit', () => {
      process.exitCode = isClosed ? EXIT_PIPE : EXIT_UNAVAILABLE
    })
  })
  // There is nowhere left to tell it.
  process.stderr.on('error', () => {})
}

/** `ENOSPC: no space left on device, write` without the system's call. */
function reasonOf({ message }: Error): string {
  return message.replace(/^write E\w+$/, (text) => text.slice('write '.length)).replace(/, write$/, '')
}
