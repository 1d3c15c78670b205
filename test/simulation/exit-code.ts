/** Exit codes of long runs: what the run makes of itself, or 2 when it could not even run. */

/** Ends by itself when nothing is left to do: what was printed is printed. */
export function exitWith(run: () => Promise<number>): void {
  run().then(
    (code) => {
      process.exitCode = code
    },
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
      process.exitCode = 2
    },
  )
}
