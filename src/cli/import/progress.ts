/** A progress bar on standard error, where that is a terminal. */

const UPDATE_EVERY_MS = 200

export interface ProgressFigures {
  readonly bytes: number
  readonly imported: number
  readonly bad: number
  readonly unacknowledged: number
}

/** @param sizeBytes of the input, where it is known */
export function startProgress(sizeBytes: number | null, figures: () => ProgressFigures): { stop(): void } {
  if (process.stderr.isTTY !== true || sizeBytes === null) return { stop: () => {} }
  let stopped = false
  let end = (): void => {}
  void import('cli-progress').then(({ default: progress }) => {
    if (stopped) return
    const format = '{bar} {percentage}%  {imported} imported, {failed} failed  {eta_formatted} left'
    const bar = new progress.SingleBar(
      { format, stream: process.stderr, hideCursor: true },
      progress.Presets.shades_classic,
    )
    bar.start(Math.max(1, sizeBytes), 0, { imported: 0, failed: 0 })
    const update = (): void => {
      const { bytes, imported, bad, unacknowledged } = figures()
      bar.update(bytes, { imported, failed: bad + unacknowledged })
    }
    const timer = setInterval(update, UPDATE_EVERY_MS)
    end = (): void => {
      clearInterval(timer)
      update()
      bar.stop()
    }
  })
  return {
    stop: () => {
      stopped = true
      end()
    },
  }
}
